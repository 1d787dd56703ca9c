"""Speak the test clips with espeak-ng: `python scripts/make_test_clips.py`.

Writes `tests/data/*.flac` and `tests/data/clips.csv` (path, gender, text, emotion). The sentences were written for
this and are in no training set; the clips are what espeak-ng speaks, unchanged. The emotion is what the words say,
where they say it plainly; the synthesiser's voice has none.
"""

from __future__ import annotations

import csv
import io
import subprocess
from pathlib import Path

import soundfile

DATA_DIR = Path(__file__).resolve().parent.parent / "tests" / "data"

# (voice, words a minute, pitch 0..99, gender, text, emotion)
CLIPS = (
    ("ko", 160, 50, "MALE", "오늘은 오랜만에 친구를 만나서 정말 즐거웠다.", "기쁨"),
    ("ko+f2", 155, 55, "FEMALE", "발표를 망친 것 같아서 하루 종일 걱정이 됐다.", "불안"),
    ("ko+m3", 165, 45, "MALE", "동생이 내 물건을 또 망가뜨려서 화가 났다.", "분노"),
    ("ko+f1", 150, 60, "FEMALE", "강아지가 떠난 자리가 너무 허전하고 슬프다.", "슬픔"),
    ("ko+m1", 170, 40, "MALE", "사람들 앞에서 이름을 잘못 불러서 무척 당황했다.", "당황"),
    ("ko+f3", 160, 52, "FEMALE", "믿었던 사람의 차가운 말에 마음이 아팠다.", "상처"),
    ("ko", 150, 42, "MALE", "아침에 버스를 놓쳤다. 그래도 회사에는 늦지 않았다.", ""),
    ("ko+f4", 158, 58, "FEMALE", "엄마가 끓여 준 국을 먹고 기운이 났다. 고마웠다.", "기쁨"),
    ("ko+m5", 162, 48, "MALE", "시험이 내일인데 공부를 하나도 못 했다. 너무 불안하다.", "불안"),
    ("ko+f5", 152, 50, "FEMALE", "비가 와서 산책을 못 갔다. 대신 집에서 책을 읽었다.", ""),
    ("ko+m2", 168, 46, "MALE", "새로 산 신발이 마음에 들어서 기분이 좋다.", "기쁨"),
    ("ko+f2", 145, 54, "FEMALE", "약속을 또 미뤄서 서운했지만 말하지 못했다.", "상처"),
    ("ko+m4", 160, 44, "MALE", "밤새 잠을 못 자서 머리가 아프다.", ""),
    ("ko+f1", 165, 56, "FEMALE", "오늘 면접에 붙었다는 전화를 받았다! 꿈만 같다.", "기쁨"),
    ("ko", 155, 38, "MALE", "창밖을 보다가 괜히 눈물이 났다.", "슬픔"),
    ("ko+f3", 150, 62, "FEMALE", "왜 나만 혼나야 하는지 모르겠다. 억울하고 화난다.", "분노"),
    ("ko+m6", 158, 50, "MALE", "처음 해 본 요리가 생각보다 맛있었다.", "기쁨"),
    ("ko+f4", 162, 48, "FEMALE", "할머니 목소리가 자꾸 생각나서 보고 싶다.", "슬픔"),
    ("ko+m7", 164, 52, "MALE", "길을 잃어서 한참을 헤맸다. 겁이 났지만 결국 찾아왔다.", "불안"),
    ("ko+f5", 156, 57, "FEMALE", "주말에는 가족과 함께 바다에 가기로 했다. 벌써 설렌다.", "기쁨"),
    ("ko+m1", 158, 46, "MALE", "회의 중에 내 전화벨이 크게 울려서 몹시 당황스러웠다.", "당황"),
    ("ko+f2", 154, 52, "FEMALE", "지갑을 안 가져온 걸 계산할 때 알아서 난처했다.", "당황"),
    ("ko+m3", 166, 43, "MALE", "약속을 어기고도 사과하지 않는 친구 때문에 화가 많이 났다.", "분노"),
    ("ko+f4", 152, 56, "FEMALE", "가장 친한 친구가 나를 험담했다는 말을 듣고 상처받았다.", "상처"),
)


def main() -> None:
    """Speak every clip and write the list of them."""
    DATA_DIR.mkdir(parents=True, exist_ok=True)
    with (DATA_DIR / "clips.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["path", "gender", "text", "emotion"])
        for number, (voice, speed, pitch, gender, text, emotion) in enumerate(CLIPS, 1):
            name = f"diary_{number:02}.flac"
            command = ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", text]
            # espeak-ng streams its header before it knows the length, so the samples are written anew.
            samples, rate_hz = soundfile.read(
                io.BytesIO(subprocess.run(command, check=True, capture_output=True).stdout), dtype="int16"
            )
            soundfile.write(DATA_DIR / name, samples, rate_hz, subtype="PCM_16")
            writer.writerow([name, gender, text, emotion])


if __name__ == "__main__":
    main()
