"""Who may come in, where people log in: Streamlit's own login, and the role that they have here."""

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from curation import people, roles, server
from curation.app import state
from curation.app.components.frame import literal
from curation.people import ROLES, Person
from embeddings.errors import CurationError


def person() -> Person | None:
    """Return who is logged in in this tab; None where nobody has to."""
    if not server.login_needed():
        return None
    if get_script_run_ctx() is None or not st.user.is_logged_in:
        return Person("somebody unknown", ROLES[0])
    return server.person_of(dict(st.user))


people.ask(person)


def admitted() -> bool:
    """Whether the page may be drawn for whoever looks at it; if not, draw the way in."""
    if not server.login_needed():
        return True
    try:
        if not st.user.is_logged_in:
            _way_in(server.login_providers())
            return False
        who = server.person_of(dict(st.user))
    except CurationError as error:
        st.error(literal(str(error)), icon=":material/error:")
        return False
    if who.may("view"):
        return True
    st.error(
        literal(f"{who.name} has no role here yet; ask an admin to add the name."),
        icon=":material/lock:",
    )
    st.button("Log out", icon=":material/logout:", on_click=st.logout)
    return False


def account() -> None:
    """Draw who is logged in, what they may do, and the way out; nothing where nobody has to."""
    who = person()
    if who is None:
        return
    st.caption({"view": "you may look", "label": "you may label"}.get(who.role, "admin"))
    if who.may("admin"):
        with st.popover("Roles", icon=":material/group:", width="stretch"):
            _change_roles()
    st.button("Log out", icon=":material/logout:", on_click=st.logout, width="stretch")


def _way_in(providers: list[str]) -> None:
    st.title("Curation Atlas")
    st.write("Log in to see the pictures.")
    for name in providers:
        st.button(
            "Log in" if name == "default" else f"Log in with {literal(name)}",
            icon=":material/login:",
            key=f"login-{name}",
            type="primary",
            on_click=st.login,
            args=(name,),
        )


def _change_roles() -> None:
    found = roles.roles()
    st.dataframe(
        {"person": list(found.people), "role": list(found.people.values())}, hide_index=True
    )
    name = st.text_input("Person", key="role-of", placeholder="e-mail address")
    role = st.selectbox("Role", ROLES[::-1], index=1, key="role")
    st.button("Give this role", key="give-role", on_click=_give, args=(name, role))


@state.undivided()
def _give(name: str, role: str) -> None:
    def work() -> str:
        roles.give(name, role)
        return f"{name}: {role}"

    state.act(work)
