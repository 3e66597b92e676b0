"""Which browser a User-Agent names."""

from __future__ import annotations

#: Told apart by their tokens, in this order: most name others, too, to be taken for them.
_TOKENS = (
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("Edge/", "Edge"),
    ("OPR/", "Opera"),
    ("Opera", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Vivaldi/", "Vivaldi"),
    ("YaBrowser/", "Yandex"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("HeadlessChrome/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Chromium/", "Chrome"),
    ("MSIE ", "Internet Explorer"),
    ("Trident/", "Internet Explorer"),
    ("Safari/", "Safari"),
)

OTHER = "Other"


def browser_of(user_agent: str | None) -> str | None:
    """The family of the browser, `OTHER` for what is none of the usual, None without a User-Agent.

    By the tokens that vendors document; enough for "which browsers must my app work in",
    and no version, no device: those are guesses since browsers freeze what they say.
    """
    if not user_agent:
        return None
    for token, name in _TOKENS:
        if token in user_agent:
            return name
    return OTHER
