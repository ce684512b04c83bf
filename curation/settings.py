"""Streamlit's settings, for an installation that has no `.streamlit` folder beside it."""

LOCAL_HOSTS = ("127.0.0.1", "localhost")


def server_flags(host: str, port: int, browser: bool) -> list[str]:
    """Return what `curate serve` passes to `streamlit run`.

    `.streamlit/config.toml` says the same for `streamlit run app.py`, with the reasons; a test
    holds the two together.
    """
    options = {
        "server.address": host,
        "server.port": str(port),
        "server.headless": "false" if browser else "true",
        "server.showEmailPrompt": "false",
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
    flags = [f"--{name}={value}" for name, value in options.items()]
    return flags + [f"--server.allowedHosts={name}" for name in LOCAL_HOSTS]


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
