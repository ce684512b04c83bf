"""Streamlit's settings, for an installation that has no `.streamlit` folder beside it."""

LOCAL_HOSTS = ("127.0.0.1", "localhost")


def server_settings(host: str, port: int, browser: bool) -> dict[str, str]:
    """Return what `curate serve` passes to `streamlit run`, by option name.

    `.streamlit/config.toml` says the same for `streamlit run app.py`, with the reasons; a test
    holds the two together.
    """
    return {
        "server.address": host,
        "server.port": str(port),
        "server.headless": "false" if browser else "true",
        "server.showEmailPrompt": "false",
        "server.allowedHosts": ",".join(LOCAL_HOSTS),
        "server.enableCORS": "true",
        "server.enableXsrfProtection": "true",
        "server.enableStaticServing": "false",
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "viewer",
        "client.showErrorLinks": "false",
        "runner.magicEnabled": "false",
        **_THEME,
    }


_THEME = {
    "theme.baseRadius": "small",
    "theme.light.primaryColor": "#2f6b85",
    "theme.light.backgroundColor": "#ffffff",
    "theme.light.secondaryBackgroundColor": "#f3f4f5",
    "theme.light.textColor": "#20252b",
    "theme.light.borderColor": "#d9dcdf",
    "theme.dark.primaryColor": "#3d87a6",
    "theme.dark.backgroundColor": "#15181b",
    "theme.dark.secondaryBackgroundColor": "#1f2327",
    "theme.dark.textColor": "#e4e6e8",
    "theme.dark.borderColor": "#363b40",
}
