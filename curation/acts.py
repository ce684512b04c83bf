"""The acts of a curator on one dataset: each is kept at once and taken back as one step."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from curation.journal import Journal, Overtaken
from curation.labels import Change, LabelState
from curation.people import acting, allow
from curation.schema import FLAG_BITS, Act, Decision, Forecast, Selection, clean_label
from embeddings.errors import CurationError

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Preview:
    """What an undo or redo would do: the acts of the step, and the items that would change."""

    acts: tuple[Decision, ...]
    changes: tuple[Change, ...]

    @property
    def items(self) -> BitMap:
        """The numbers of the items that would change."""
        return BitMap().union(*(change.items for change in self.changes))

    @property
    def words(self) -> list[str]:
        """What would change, a line each, such as ``12 items: category shirt -> dress``."""
        return [
            f"{len(change.items):,} {'item' if len(change.items) == 1 else 'items'}: "
            f"{change.field} {change.before or 'none'} -> {change.after or 'none'}"
            for change in self.changes
        ]


class Acts(ABC):
    """What can be done to the items of a dataset; a `Workspace` is one."""

    keyboard: str  # who opened the dataset on this machine
    journal: Journal
    labels: LabelState

    @abstractmethod
    def nos_of(self, selection: Selection) -> Int64:
        """Return the journal's number of each item of a selection, (m,) int64."""

    @property
    def made_by(self) -> str:
        """Who decides: whoever is logged in, where people log in, else who opened the dataset."""
        person = acting()
        return self.keyboard if person is None else person.name

    # ---- labels

    def forecast(self, selection: Selection, value: str, field: str = "category") -> Forecast:
        """Return what labelling `selection` would change, before it is done."""
        value = clean_label(value)
        self.labels.refresh()
        items = self.nos_of(selection)
        away = self.excluded(items)
        rest = items[~away]
        found = dict(sorted(self.labels.tally(field, rest).items()))
        unchanged = found.pop(value, 0)
        return Forecast(len(rest), found, unchanged, int(away.sum()))

    def label(
        self,
        selection: Selection,
        value: str,
        *,
        field: str = "category",
        overwrite: bool = False,
        note: str | None = None,
        source: str | None = None,
        made_by: str | None = None,
        head: int | None = None,
    ) -> Decision:
        """Give every item of `selection` that is not excluded one label, as one decision.

        `source` tells how it came to be: ``"proposed"`` for a machine's proposal that was
        accepted, ``"review"`` for a reviewer's answer, ``"consensus"`` for a settled conflict.
        `head` is the newest decision that whoever asks for it has looked at.

        Raises
        ------
        Overtaken
            Where somebody has decided about these items after `head`.
        CurationError
            For a label that cannot be one, where it would overwrite labels that people gave and
            `overwrite` does not say so, and where every item is excluded.
        """
        items = BitMap(self.nos_of(selection).astype(np.uint32))
        while True:
            known = self.labels.refresh()
            forecast = self.forecast(selection, value, field)
            if forecast.overwrites and not overwrite:
                held = ", ".join(f"{count} {name}" for name, count in forecast.relabels.items())
                raise CurationError(
                    f"{forecast.overwrites} of {forecast.items} items have another {field} "
                    f"already ({held[:200]}); say overwrite to change them"
                )
            remaining = self.without_excluded(selection)
            try:
                looked = known if head is None else head
                return self._append(
                    "label", remaining, field, value, note, made_by, source, looked, items
                )
            except Overtaken:
                if head is not None:
                    raise
                continue  # by a decision about these items: what was forecast may not hold

    def without_excluded(self, selection: Selection) -> Selection:
        """Return the items of `selection` that remain; CurationError when all are excluded."""
        rest = selection.part(~self.excluded(self.nos_of(selection)))
        if not len(rest):
            raise CurationError(f"all {len(selection)} items are excluded; restore them first")
        return rest

    def excluded(self, items: Int64) -> npt.NDArray[np.bool_]:
        """Return which of the items (m,), by number, are flagged excluded."""
        found: npt.NDArray[np.bool_] = (self.labels.flags(items) & FLAG_BITS["excluded"]) > 0
        return found

    def without_label(self, selection: Selection, field: str = "category") -> Selection | None:
        """Return the items of `selection` that have no label of `field`; None when all have."""
        bare = selection.part(~self._labelled(selection, field))
        return bare if len(bare) else None

    def with_label(self, selection: Selection, field: str = "category") -> Selection | None:
        """Return the items of `selection` that have a label of `field`; None when none has."""
        named = selection.part(self._labelled(selection, field))
        return named if len(named) else None

    def _labelled(self, selection: Selection, field: str) -> npt.NDArray[np.bool_]:
        self.labels.refresh()
        items = self.nos_of(selection)
        held = self.labels.category(items) if field == "category" else self.labels.instance(items)
        return np.array([name is not None for name in held], dtype=np.bool_)

    def clear(
        self,
        selection: Selection,
        *,
        field: str = "category",
        note: str | None = None,
        source: str | None = None,
        made_by: str | None = None,
        head: int | None = None,
    ) -> Decision:
        """Take the label of `field` from every item of `selection`, as one decision.

        Raises `Overtaken` where somebody has decided about these items after `head`.
        """
        items = None if head is None else BitMap(self.nos_of(selection).astype(np.uint32))
        return self._append("label", selection, field, None, note, made_by, source, head, items)

    def flag(
        self,
        selection: Selection,
        flag: str,
        *,
        remove: bool = False,
        note: str | None = None,
        made_by: str | None = None,
    ) -> Decision:
        """Set a flag (excluded, outlier, duplicate, unclear) on a selection; `note` says why.

        `remove` takes it away: an excluded item is restored.
        """
        action = "unflag" if remove else "flag"
        return self._append(action, selection, "flag", flag, note, made_by)

    def refuse(
        self,
        selection: Selection,
        value: str,
        *,
        field: str = "category",
        note: str | None = None,
        made_by: str | None = None,
    ) -> Decision:
        """Say that no item of `selection` is `value`: what a curator took out of a proposal."""
        return self._append("refuse", selection, field, value, note, made_by)

    # ---- whole labels

    def rename(
        self,
        old: str,
        new: str,
        *,
        field: str = "category",
        note: str | None = None,
        made_by: str | None = None,
    ) -> Decision:
        """Give all items that carry the label `old`, excluded ones too, the label `new`.

        Raises
        ------
        CurationError
            When no item carries `old`, or some carry `new` already.
        """
        return self._replace([old], clean_label(new), field, note, made_by, free=True)[0]

    def merge(
        self,
        labels: Sequence[str],
        into: str,
        *,
        field: str = "category",
        note: str | None = None,
        made_by: str | None = None,
    ) -> list[Decision]:
        """Give all items that carry one of `labels` the label `into`, as one step.

        Returns one decision for each label that went; `into` may be one of `labels`.

        Raises
        ------
        CurationError
            When no item carries one of the labels.
        """
        into = clean_label(into)
        gone = [one for one in dict.fromkeys(map(clean_label, labels)) if one != into]
        if not gone:
            raise CurationError(f"nothing to merge into {into!r}; name another label too")
        return self._replace(gone, into, field, note, made_by)

    def delete_label(
        self,
        label: str,
        *,
        field: str = "category",
        note: str | None = None,
        made_by: str | None = None,
    ) -> Decision:
        """Take a label from all items that carry it, excluded ones too."""
        return self._replace([label], None, field, note, made_by)[0]

    def _replace(
        self,
        labels: Sequence[str],
        new: str | None,
        field: str,
        note: str | None,
        made_by: str | None,
        *,
        free: bool = False,
    ) -> list[Decision]:
        """Replace labels as one step; `free` says that no item may carry `new` already."""
        while True:
            head = self.labels.refresh()
            if free and self.labels.items_with(field, new):
                raise CurationError(f"there is a {field} {new!r} already; merge the two instead")
            acts = []
            for label in map(clean_label, labels):
                items = self.labels.items_with(field, label)
                if not items:
                    raise CurationError(f"no item has the {field} {label!r}; look at its name")
                acts.append(Act("label", items, field, new, note=note, replaces=label))
            try:
                return self.step(acts, made_by=made_by, head=head)
            except Overtaken:
                continue  # by another curator: other items may carry the labels now

    # ---- back and forth

    def undo(self, made_by: str | None = None, seq: int | None = None) -> Decision:
        """Take back the newest act of this person, which must be `seq` where it is given."""
        return self.back("undo", made_by, seq)[0]

    def redo(self, made_by: str | None = None, seq: int | None = None) -> Decision:
        """Bring back what this person undid last, which must be `seq` where it is given."""
        return self.back("redo", made_by, seq)[0]

    def back(
        self, action: str, made_by: str | None = None, seq: int | None = None
    ) -> list[Decision]:
        """Undo or redo, as `action` says; return one decision for each act of the step.

        What renamed, merged or deleted a label takes the role admin here too.
        """
        who = self._allowed(made_by)
        top = self.journal.undoable if action == "undo" else self.journal.redoable
        for act in [top(who)] if seq is None else self.journal.decisions([seq]):
            if act is not None:
                allow(_role(self.journal.parts(act, action)))
                seq = act.seq  # this one and no other, whatever somebody does meanwhile
        decisions = self.journal.back(action, who, seq)
        self.labels.refresh()
        return decisions

    def preview_undo(self, made_by: str | None = None) -> Preview | None:
        """Return what `undo` would change; None where there is nothing to undo."""
        return self._preview(self.journal.undoable(made_by or self.made_by), "undo")

    def preview_redo(self, made_by: str | None = None) -> Preview | None:
        """Return what `redo` would change; None where there is nothing to redo."""
        return self._preview(self.journal.redoable(made_by or self.made_by), "redo")

    def _preview(self, act: Decision | None, action: str) -> Preview | None:
        if act is None:
            return None
        self.labels.refresh()
        parts = self.journal.parts(act, action)
        return Preview(tuple(parts), tuple(self.labels.preview(parts, undo=action == "undo")))

    def log(
        self, last: int | None = None, *, made_by: str | None = None, label: str | None = None
    ) -> list[Decision]:
        """Return the decisions, newest first, at most `last`, of one person, about one label."""
        return self.journal.newest(last, made_by=made_by, label=label)

    # ---- inside

    def _allowed(self, made_by: str | None, role: str = "label") -> str:
        """Return who decides, if they may: every decision comes through here."""
        allow(role)
        return made_by or self.made_by

    def step(
        self, acts: Sequence[Act], *, made_by: str | None = None, head: int | None = None
    ) -> list[Decision]:
        """Do several acts that are undone as one; raises as `Journal.append_step` does."""
        who = self._allowed(made_by, _role(acts))
        decisions = self.journal.append_step(acts, made_by=who, head=head)
        self.labels.refresh()
        return decisions

    def _append(
        self,
        action: str,
        selection: Selection,
        field: str,
        value: str | None,
        note: str | None,
        made_by: str | None,
        source: str | None = None,
        head: int | None = None,
        watched: BitMap | None = None,
    ) -> Decision:
        decision = self.journal.append(
            action,
            items=BitMap(self.nos_of(selection).astype(np.uint32)),
            made_by=self._allowed(made_by),
            field=field,
            value=value,
            atlas_version=selection.atlas_version,
            note=note,
            source=source,
            head=head,
            watched=watched,
        )
        self.labels.refresh()
        return decision


def _role(acts: Sequence[Act | Decision]) -> str:
    """Return the role that some acts take: a whole label is an admin's."""
    return "admin" if any(act.replaces is not None for act in acts) else "label"
