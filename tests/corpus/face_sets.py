"""Small made-up face sets: the drawn faces under the names of each layout."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import cv2

_KDEF = {"AN": "AN", "DI": "DI", "FE": "AF", "HA": "HA", "SA": "SA", "SP": "SU"}
_RAFD = {"AN": "angry", "DI": "disgusted", "FE": "fearful", "HA": "happy", "SA": "sad", "SP": "surprised"}
_SEX = {"F": "female", "M": "male"}
_CK = {"AN": 1, "DI": 3, "FE": 4, "HA": 5, "SA": 6, "SP": 7}
_TAIWANESE = dict(zip(("NE", "HA", "SA", "AN", "DI", "FE", "SP"), "abcdefg", strict=True))
_WORDS = {"AN": "Angry", "DI": "disgust", "FE": "fear", "HA": "happy", "SA": "traurig", "SP": "surprise"}


def _names(faces: Path):
    """(file, number, sex, emotion, running number) of each drawn face."""
    for i, path in enumerate(sorted(faces.glob("*.BMP"))):
        number, sex, emotion = re.match(r"(\d+)([FM])_([A-Z]{2})", path.name).groups()
        yield path, int(number), sex, emotion, i


def _name(layout: str, number: int, sex: str, emotion: str, i: int) -> str | None:
    """Its name in a face set; None where the set has no such emotion."""
    if layout == "nimstim":
        return (
            f"{number:02d}{sex}_{emotion}_{'CO'[i % 2]}.BMP" if i % 2 else f"sub{i}/{number:02d}{sex}_{emotion}_C.bmp"
        )
    if layout == "kdef":
        return f"{'AB'[i % 2]}{sex}{number:02d}/{'AB'[i % 2]}{sex}{number:02d}{_KDEF[emotion]}S.JPG"
    if layout == "rafd":
        gaze = "frontal"
        return f"Rafd090_{number:02d}_Caucasian_{_SEX[sex]}_{_RAFD[emotion]}_{gaze}.jpg"
    if layout == "jaffe":
        return f"K{chr(64 + number)}.{_KDEF[emotion].replace('AF', 'FE')}{i % 9 + 1}.{i + 1}.tiff"
    if layout == "ckplus":
        sequence = f"S{number:03d}/{i:03d}"
        return f"cohn-kanade-images/{sequence}/S{number:03d}_{i:03d}_{11:08d}.png"
    if layout == "faces":
        return None if emotion == "SP" else f"{number:03d}_{'ymo'[number % 3]}_{sex.lower()}_{emotion[0].lower()}_a.jpg"
    if layout == "taiwanese":
        return f"{number:02d}{i % 9 + 1}1{_TAIWANESE[emotion]}{number:02d}.jpg"
    if layout == "emotion-person":
        return f"{_WORDS[emotion]}/Person {number}/{i}.png"
    return f"{_WORDS[emotion]}/p{number}_{i}.png"


def make(layout: str, faces: Path, folder: Path) -> dict[str, tuple[int, str]]:
    """Write the set; returns (number, emotion) of each of its pictures by path."""
    said: dict[str, tuple[int, str]] = {}
    for path, number, sex, emotion, i in _names(faces):
        name = _name(layout, number, sex, emotion, i)
        if name is None or name in said:
            continue
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix.lower() == ".bmp":
            shutil.copyfile(path, target)
        else:
            assert cv2.imwrite(str(target), cv2.imread(str(path)))
        said[name] = (number, emotion)
        if layout == "ckplus":
            label = folder / "Emotion" / target.parent.relative_to(folder / "cohn-kanade-images")
            label.mkdir(parents=True)
            (label / f"{target.stem}_emotion.txt").write_text(f"   {_CK[emotion]:.7e}\n")
    return said
