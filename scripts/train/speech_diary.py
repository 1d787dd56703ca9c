"""Diary sentences: made-up ones to train on, and ones written by hand for testing."""

import random
import re

TIMES = (
    "오늘 오늘은 어제 어제는 오늘|아침에 오늘|저녁에 지난주에 주말에 점심시간에 저녁에 퇴근하고 "
    "학교가|끝나고 밤늦게 새벽에 며칠|전에 요즘 아까 방금|전에 오랜만에 하루|종일 수업이|끝나고 비가|와서 "
    "날씨가|좋아서 월요일에 금요일에 일요일에 시험이|끝나고 회의가|끝나고 집에|오는|길에 출근길에 "
    "퇴근길에 자기|전에 일어나자마자 작년에 올해는 이번|주에 지난달에 결국 갑자기 그래서 그런데 그리고 "
    "하지만 사실 처음으로 드디어 아직도 생일이라서 휴일이라 눈이|와서 방학이라"
)
PEOPLE = (
    "친구 엄마 아빠 동생 언니 오빠 누나 형 남자친구 여자친구 선생님 팀장님 상사 동료 할머니 할아버지 남편 "
    "아내 아들 딸 이웃 강아지 고양이 후배 선배 사장님 교수님 조카 사촌 룸메이트 부모님 아이들 가족 손님 "
    "고객 옆집|사람 반|친구 이모 삼촌 고모 의사|선생님 과장님 부장님 아기 전|남자친구 소꿉친구 직원 "
    "버스|기사님 어머니 아버지 시어머니 막내"
)
PLACES = (
    "회사 학교 집 카페 도서관 공원 병원 시장 식당 영화관 바다 산 헬스장 버스 지하철 마트 미용실 교회 "
    "놀이공원 서점 편의점 강가 놀이터 옥상 공항 기차역 사무실 교실 운동장 동네 골목 백화점 빵집 치과 "
    "수영장 해변 캠핑장 박물관 미술관 고향 부엌 방 거실 베란다"
)
# object or place, dictionary stem, past stem
ACTIONS = (
    "밥을:먹:먹었 영화를:보:봤 산책을:하:했 운동을:하:했 커피를:마시:마셨 책을:읽:읽었 음악을:듣:들었 "
    "노래를:부르:불렀 사진을:찍:찍었 선물을:받:받았 편지를:쓰:썼 전화를:하:했 전화를:받:받았 청소를:하:했 "
    "빨래를:하:했 요리를:하:했 케이크를:만들:만들었 옷을:사:샀 약속을:잡:잡았 시험을:보:봤 숙제를:하:했 "
    "발표를:하:했 면접을:보:봤 일을:하:했 야근을:하:했 실수를:하:했 칭찬을:받:받았 꾸중을:듣:들었 "
    "욕을:먹:먹었 거짓말을:하:했 비밀을:지키:지켰 이야기를:나누:나눴 이야기를:하:했 말다툼을:하:했 "
    "싸움을:하:했 화해를:하:했 사과를:하:했 이별을:하:했 고백을:하:했 청혼을:받:받았 여행을:가:갔 "
    "버스를:타:탔 지하철을:놓치:놓쳤 지갑을:잃어버리:잃어버렸 우산을:두고:오:왔 길을:잃:잃었 "
    "돈을:모으:모았 돈을:빌리:빌렸 돈을:쓰:썼 잠을:자:잤 늦잠을:자:잤 낮잠을:자:잤 꿈을:꾸:꿨 "
    "눈물을:흘리:흘렸 상처를:받:받았 위로를:받:받았 도움을:받:받았 도움을:주:줬 인사를:하:했 농담을:하:했 "
    "소식을:듣:들었 결과를:기다리:기다렸 병원에:가:갔 감기에:걸리:걸렸 약을:먹:먹었 주사를:맞:맞았 "
    "다리를:다치:다쳤 넘어지:넘어지:넘어졌 합격을:하:했 시험에:떨어지:떨어졌 승진을:하:했 "
    "회사를:그만두:그만뒀 이사를:하:했 방을:치우:치웠 꽃을:심:심었 나무를:보:봤 별을:보:봤 "
    "하늘을:바라보:바라봤 바람을:쐬:쐤 비를:맞:맞았 자전거를:타:탔 수영을:하:했 등산을:하:했 축구를:하:했 "
    "게임을:하:했 그림을:그리:그렸 피아노를:치:쳤 춤을:추:췄 라면을:끓이:끓였 치킨을:시키:시켰 "
    "떡볶이를:먹:먹었 김치찌개를:끓이:끓였 빵을:굽:구웠 술을:마시:마셨 차를:마시:마셨 아침을:거르:걸렀 "
    "약속을:어기:어겼 문을:닫:닫았 불을:끄:껐 창문을:열:열었 휴대폰을:떨어뜨리:떨어뜨렸 "
    "컴퓨터를:고치:고쳤 물건을:고르:골랐 계획을:세우:세웠 소리를:지르:질렀 웃:웃:웃었 울:울:울었 "
    "걷:걷:걸었 뛰:뛰:뛰었 쉬:쉬:쉬었 기다리:기다리:기다렸 후회:후회하:후회했 놀:놀:놀았 생각을:하:했 "
    "걱정을:하:했 용기를:내:냈 마음을:먹:먹었 마음을:정리하:정리했 약속을:지키:지켰 일기를:쓰:썼 "
    "기도를:하:했 공부를:하:했"
)
FEELINGS = (
    "기뻤 행복했 슬펐 속상했 화가|났 짜증이|났 무서웠 불안했 걱정됐 외로웠 서운했 억울했 당황했 놀랐 "
    "뿌듯했 설렜 즐거웠 지루했 피곤했 힘들었 우울했 고마웠 미안했 부끄러웠 답답했 후회됐 편안했 감동받았 "
    "상처받았 긴장됐 그리웠 허전했 막막했 실망했 어이가|없었 신났 만족스러웠 창피했 좋았 싫었 괜찮았 아팠 "
    "재미있었 재미없었 이상했 신기했 떨렸 두려웠 눈물이|났 웃음이|나왔 기분이|좋았 기분이|나빴 "
    "마음이|아팠 마음이|편했 마음이|무거웠 가슴이|뛰었 가슴이|답답했 속이|상했 기운이|없었 자신감이|생겼 "
    "섭섭했 괴로웠 초조했 황당했 뭉클했 든든했 따뜻했 쓸쓸했 원망스러웠 밉|고|싫었 분했 배신감이|들었 "
    "안심이|됐 여유로웠 후련했"
)
ADVERBS = "정말 너무 아주 조금 많이 참 무척 굉장히 꽤 왠지 괜히 매우 엄청 진짜 조금은 그냥 또 다시 제일 가장 더|많이"
PAST_ENDINGS = (
    "다. 다. 다. 다. 어. 어요. 어요. 어요. 습니다. 습니다. 습니다. 네요. 는데요. 거든요. 지. 지요. "
    "던|것|같다. 다! 어! 어요! 나요? 을까? 던|하루였다. 던|날이다. 고|생각한다. 는지|모르겠다."
)
ANY_OBJECT_ACTIONS = (
    "보:봤 사:샀 찾:찾았 떠올리:떠올렸 만나:만났 좋아하:좋아했 받:받았 잃어버리:잃어버렸 "
    "싫어하:싫어했 기다리:기다렸 배우:배웠 고르:골랐"
)
GIVINGS = "줬 받았 보냈 부탁했 보여|줬"
TURNS = "지만 는데"
WISHES = "다. 어요. 습니다. 었다. 었어요. 지만|참았다. 은|하루였다."
LINKS = "지만 는데 고 기|때문에 더니 으면서도 지만|그래도 으니까"


def _words(listing: str) -> list[str]:
    return [item.replace("|", " ") for item in listing.split()]


def with_particle(noun: str, after_consonant: str, after_vowel: str) -> str:
    """Noun with the particle that fits its last syllable; 으로/로 treats ㄹ as a vowel."""
    final = (ord(noun[-1]) - 0xAC00) % 28
    closed = final != 0 and not (after_vowel == "로" and final == 8)
    return noun + (after_consonant if closed else after_vowel)


def connective(past: str) -> str:
    """먹었 → 먹어, 했 → 해: the past stem without its final ㅆ."""
    return past[:-1] + chr(ord(past[-1]) - (ord(past[-1]) - 0xAC00) % 28)


def diary_line(rng: random.Random, nouns: list[str]) -> str:
    """One made-up diary sentence in the first person."""

    def pick(options: list[str]) -> str:
        return rng.choice(options)

    def some(after_consonant: str, after_vowel: str) -> str:
        return with_particle(pick(nouns), after_consonant, after_vowel)

    def action() -> tuple[str, str, str]:
        *objects, stem, past = pick(_words(ACTIONS)).split(":")
        prefix = "".join(f"{word} " for word in objects if word not in (stem, "후회"))
        if objects and rng.random() < 0.3 and len(objects) == 1 and objects[0][-1] in "을를":
            anything = some("을 ", "를 ")
            stem, past = pick(_words(ANY_OBJECT_ACTIONS)).split(":")
            return anything, stem, past
        return prefix, stem, past

    def pause() -> str:
        return "," if rng.random() < 0.3 else ""

    def end() -> str:
        return pick(_words(PAST_ENDINGS))

    when = pick(_words(TIMES)) + (", " if rng.random() < 0.1 else " ")
    person, place, feeling = pick(_words(PEOPLE)), pick(_words(PLACES)), pick(_words(FEELINGS))
    adverb = pick(_words(ADVERBS)) + " "
    what, stem, past = action()
    what2, _, past2 = action()
    company = pick([with_particle(person, "과 ", "와 "), with_particle(person, "이랑 ", "랑 "), f"{person}하고 ", ""])
    subject = pick([with_particle(person, "이 ", "가 "), with_particle(person, "은 ", "는 ")])
    where = pick([f"{place}에서 ", f"{place}에서 ", ""])
    patterns = [
        f"{when}{company}{where}{what}{past}{end()}",
        f"{when}{company}{where}{what}{connective(past)}서 {adverb}{feeling}{end()}",
        f"{when}{what}{stem}고 {what2}{past2}{end()}",
        f"{when}{adverb}{feeling}{end()}",
        f"{subject}{where}{what}{connective(past)}서 {adverb}{feeling}{end()}",
        f"{subject}{when}{what}{past}{pick(_words(LINKS))} 나는 {adverb}{feeling}{end()}",
        f"{where}{what}{past}{pick(_words(LINKS))}{pause()} {adverb}{feeling}{end()}",
        f"{some('이', '가')} {adverb}{feeling}{end()}",
        f"{some('과', '와')} {some('을', '를')} {pick(_words('봤 샀 챙겼 준비했'))}{end()}",
        f"{person}에게 {some('을', '를')} {pick(_words(GIVINGS))}{end()}",
        f"{with_particle(place, '으로', '로')} {company}{pick(_words('갔 떠났 돌아왔 달려갔 향했'))}{end()}",
        f"{when}{what}{stem}고 싶{pick(_words(WISHES))}",
        f"내일은 {company}{where}{what}{stem}기로 했{end()}",
        f"{when}{what}{stem}{pick(_words('지|못해서 지|않아서 지|못했는데'))} {adverb}{feeling}{end()}",
        f"{feeling}{pick(_words(TURNS))} {subject}{what}{connective(past)}줘서 {adverb}{pick(_words(FEELINGS))}{end()}",
    ]  # fmt: skip
    return re.sub(r"\s+", " ", pick(patterns)).strip()


DIARY_TEST = (
    "오늘은 아침부터 비가 내려서 기분이 가라앉았다.",
    "오랜만에 대학교 친구들을 만나서 밤새 수다를 떨었다.",
    "팀장님이 회의 시간에 내 의견을 무시해서 너무 속상했다.",
    "퇴근길에 꽃집에 들러 나를 위한 꽃을 한 다발 샀다.",
    "엄마가 끓여 준 미역국을 먹으니 눈물이 핑 돌았다.",
    "동생이랑 사소한 일로 다투고 나서 하루 종일 마음이 불편했다.",
    "내일 발표가 있어서 손이 떨리고 잠이 오지 않는다.",
    "드디어 자격증 시험에 합격했다는 문자를 받았다!",
    "강아지가 아파서 동물 병원에 데려갔는데 큰 병은 아니래요.",
    "남편이 갑자기 선물을 내밀어서 깜짝 놀랐어요.",
    "아무도 내 생일을 기억하지 못해서 서운했어요.",
    "지하철에서 어떤 사람이 밀치고 사과도 하지 않아서 화가 났다.",
    "할머니 목소리를 다시 들을 수 없다는 게 믿기지 않는다.",
    "오후에는 공원 벤치에 앉아 햇볕을 쬐며 책을 읽었다.",
    "요즘은 무엇을 해도 재미가 없고 자꾸 한숨만 나온다.",
    "아이가 처음으로 혼자 자전거를 타는 모습을 보고 뭉클했다.",
    "면접관의 질문에 대답을 제대로 못 해서 부끄러웠습니다.",
    "저녁을 먹고 남자친구와 한강을 따라 천천히 걸었습니다.",
    "친한 친구가 내 비밀을 다른 사람에게 말해 버렸다.",
    "월급날인데 카드값을 내고 나니 남는 게 하나도 없다.",
    "늦잠을 자는 바람에 중요한 약속에 늦고 말았다.",
    "선생님께서 많이 늘었다고 칭찬해 주셔서 힘이 났다.",
    "밤하늘에 별이 가득해서 한참을 올려다보았다.",
    "병원 검사 결과를 기다리는 동안 심장이 터질 것 같았다.",
    "이사한 집이 조용하고 햇살이 잘 들어서 마음에 든다.",
    "오늘도 야근을 했더니 온몸이 부서질 것처럼 피곤하다.",
    "창밖으로 첫눈이 내리는 걸 보니 괜히 설렌다.",
    "전화를 걸었지만 그 사람은 끝내 받지 않았다.",
    "실수로 커피를 쏟아서 노트북이 고장 나 버렸어.",
    "옆집에서 밤새 떠드는 소리 때문에 한숨도 못 잤어.",
    "주말에는 가족과 함께 바닷가로 여행을 다녀왔어요.",
    "새로 시작한 운동이 힘들지만 조금씩 몸이 가벼워진다.",
    "나만 뒤처지는 것 같아서 마음이 초조하고 불안하다.",
    "작은 일에도 고마워하는 사람이 되고 싶다.",
    "버스 창가에 앉아 노래를 듣다가 내릴 곳을 지나쳤다.",
    "그렇게 믿었던 사람에게 배신을 당하니 허탈했다.",
    "점심으로 먹은 김치볶음밥이 생각보다 훨씬 맛있었다.",
    "오늘은 특별한 일 없이 조용히 지나간 하루였다.",
    "동료가 내 잘못을 대신 감싸 줘서 정말 고마웠다.",
    "엘리베이터가 멈춰서 한동안 갇혀 있었는데 너무 무서웠다.",
    "첫 월급으로 부모님께 내복을 사 드렸더니 무척 좋아하셨다.",
    "하고 싶은 말을 꾹 참았더니 가슴이 답답하다.",
    "우연히 옛날 사진첩을 펼쳐 보다가 웃음이 터졌다.",
    "길고양이에게 밥을 주었더니 내 다리에 몸을 비볐다.",
    "어제 싸운 일을 먼저 사과할까 말까 고민하고 있다.",
    "다이어트를 결심했지만 밤에 또 치킨을 시켜 먹었다.",
    "혼자 밥을 먹는 시간이 이제는 외롭지 않다.",
    "누군가 내 험담을 하는 걸 듣고 몹시 충격을 받았다.",
    "운전면허 시험에서 세 번이나 떨어져서 자신감을 잃었다.",
    "봄바람이 살랑살랑 불어서 산책하기 참 좋은 날씨였다.",
    "아버지와 오랜 시간 이야기를 나누며 오해를 풀었다.",
    "내가 좋아하는 가수의 공연 표를 구해서 날아갈 듯 기쁘다!",
    "왜 나에게만 이런 일이 생기는 걸까?",
    "오늘 하루도 무사히 끝나서 다행이다.",
    "시어머니의 잔소리를 듣고 나니 머리가 지끈거렸다.",
    "화분에 심은 씨앗에서 작은 싹이 올라와 신기했다.",
    "월요일이 다가오는 것만 생각하면 벌써부터 우울해진다.",
    "길에서 넘어졌는데 지나가던 학생이 일으켜 주었다.",
    "헤어진 지 한 달이 지났는데도 문득문득 생각이 난다.",
    "잠들기 전에 따뜻한 우유를 마시며 하루를 정리했다.",
)
"""Sixty sentences; tests speak them one by one, and in threes as one clip."""
