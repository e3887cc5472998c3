"""``iemocap``: emotion in dialogue, heard and read (IEMOCAP, Busso et al. 2008)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ....utils import checks as check
from ....utils.options import takes
from ...samples import Dataset
from ..reading import media
from ..reading.layout import Problems, home, read_json
from ..reading.options import Files

CLASSES = ("neu", "hap", "ang", "sad", "exc", "fru")
MODALITIES = ("audio", "text")
LAYOUT = (
    "Expected Session{1-5}/sentences/wav/{dialog}/{utterance}.wav, Session{1-5}/dialog/EmoEvaluation/{dialog}.txt "
    "and texts/{utterance}.json (key Utterance)."
)
_LINE = re.compile(r"\[[\d.]+ - [\d.]+\]\t(\w+)\t(\w+)\t")


@takes(Files, "test_share", "size", modalities=MODALITIES, seconds=6.0)
def load_iemocap(how: Files, *, classes: Sequence[str] = CLASSES, test_session: int = 5) -> Dataset:
    """Emotions, heard (1, mel, mel), standardised, and read: hashed words (256,), sentences in ``strings``.

    Utterances of other classes are left out. Test is one session, whose two speakers training
    never hears; validation takes whole dialogues.

    Args:
        {options}
        modalities: which of "audio", "text".
        classes: in order (six: synergy, Sec 4.1).
        test_session: 1 to 5.
        val_share: of the training rows, in whole dialogues.
        audio: "mel", or "wave" at 16 kHz for ``pretrained("audio", "facebook/wav2vec2-base-960h")``.

    Raises:
        LayoutError: all missing and malformed files and lines.
    """
    chosen = how.chosen(MODALITIES)
    check.integer("test_session", test_session, at_least=1)
    names = tuple(check.one_of("class", c, CLASSES) for c in classes)
    folder = home(how.root, ["iemocap"], ["Session1", "texts"])
    problems = Problems("iemocap", folder, LAYOUT, how.damaged)
    sessions = {name: path for name, path in problems.folders(folder).items() if re.fullmatch(r"Session\d", name)}
    if f"Session{test_session}" not in sessions or len(sessions) < 2:
        problems.missing(folder / f"Session{test_session}")
    spoken = media.suffixless(problems.files(folder / "texts", [".json"])) if "text" in chosen else {}
    tables: dict[str, list[media.Row]] = {"train": [], "test": []}
    for name, session in sessions.items():
        part = "test" if name == f"Session{test_session}" else "train"
        for path in problems.files(session / "dialog" / "EmoEvaluation", [".txt"]).values():
            tables[part] += _dialogue(path, session, chosen, names, spoken, folder, problems)
    readers: dict[str, media.Reader | None] = {"audio": media.sound(how.audio, how.mel, how.seconds), "text": None}
    dataset = media.assemble(
        "iemocap", tables, {m: readers[m] for m in chosen}, problems, how=how, classes=names,
        provenance={"source": "IEMOCAP, Busso et al. 2008", "licence": "on request from USC", "rate": 16000,
                    "test_session": test_session},
    )  # fmt: skip
    return dataset if how.audio == "wave" else media.standardized(dataset, "audio")


def _dialogue(
    path: Path, session: Path, chosen: Sequence[str], classes: Sequence[str], spoken: dict[str, Path], folder: Path,
    problems: Problems,
) -> list[media.Row]:  # fmt: skip
    """Rows of one dialogue's evaluation."""
    text = problems.attempt(path, lambda: path.read_text(encoding="utf-8", errors="replace")) or ""
    found = _LINE.findall(text)
    if not found:
        problems.malformed(path, "no line '[start - end] utterance emotion' in it")
    wavs = session / "sentences" / "wav" / path.stem
    sounds = media.suffixless(problems.files(wavs, [".wav"])) if "audio" in chosen else {}
    rows, seen = [], set()
    for utterance, emotion in found:
        if utterance in seen:
            problems.malformed(path, f"utterance {utterance} comes twice")
        seen.add(utterance)
        if emotion not in classes:
            continue
        views: dict[str, object] = {}
        if "audio" in chosen:
            if utterance.lower() in sounds:
                views["audio"] = sounds[utterance.lower()]
            else:
                problems.missing(wavs / f"{utterance}.wav")
        if "text" in chosen:
            if utterance.lower() in spoken:
                words = problems.attempt(spoken[utterance.lower()], lambda: _words(spoken[utterance.lower()]))  # noqa: B023
                if words is not None:
                    views["text"] = words
            else:
                problems.missing(folder / "texts" / f"{utterance}.json")
        if len(views) == len(chosen):
            rows.append(media.Row(utterance, classes.index(emotion), views, path.stem))
    return rows


def _words(path: Path) -> str:
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("Utterance"), str):
        raise ValueError(f"{path}: a key 'Utterance' with a sentence expected")
    return content["Utterance"]
