"""Dialogs: a text to read, a choice, a name to type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from pytracer.errors import UsageError


class TextDialog(ModalScreen[None]):
    """A text; any of the usual keys closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q,space", "dismiss(None)", show=False),
        Binding("up,k", "scroll(-1)", show=False),
        Binding("down,j", "scroll(1)", show=False),
        Binding("pageup", "scroll(-10)", show=False),
        Binding("pagedown", "scroll(10)", show=False),
    ]

    def __init__(self, title: str, lines: Sequence[str]) -> None:
        """Show ``lines``, in which nothing is markup."""
        super().__init__()
        self._title, self._lines = title, lines

    def compose(self) -> ComposeResult:
        """Make the widgets."""
        with VerticalScroll(classes="dialog") as box:
            box.border_title = Content(self._title)
            box.can_focus = False
            yield Static(Content("\n".join(self._lines)))

    def action_scroll(self, by: int) -> None:
        """Scroll by lines."""
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)


class Menu(ModalScreen[int | None]):
    """A list to choose from; returns the number of the chosen one."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss(None)", show=False)]

    def __init__(self, title: str, lines: Sequence[str]) -> None:
        """Offer ``lines``, in which nothing is markup."""
        super().__init__()
        self._title, self._lines = title, lines

    def compose(self) -> ComposeResult:
        """Make the widgets."""
        with Vertical(classes="dialog") as box:
            box.border_title = Content(self._title)
            yield OptionList(*(Option(Content(line)) for line in self._lines))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Return the choice."""
        self.dismiss(event.option_index)


class Question(ModalScreen[None]):
    """A dialog for a line of text. ``accept`` gets the line; if it raises UsageError, the dialog shows the
    error and stays open."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", show=False)]

    def __init__(self, title: str, value: str, accept: Callable[[str], None]) -> None:
        """Suggest ``value``."""
        super().__init__()
        self._title, self._value, self._accept = title, value, accept

    def compose(self) -> ComposeResult:
        """Make the widgets."""
        with Vertical(classes="dialog") as box:
            box.border_title = Content(self._title)
            yield Input(self._value, compact=True, select_on_focus=False)
            yield Static("", classes="error")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Accept the line."""
        try:
            self._accept(event.value)
        except UsageError as error:
            text = f"{error.message}\n{error.hint}" if error.hint else error.message
            self.query_one(".error", Static).update(Content(text))
            return
        self.dismiss(None)
