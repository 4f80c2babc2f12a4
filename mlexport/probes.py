"""Texts on which every artifact is compared with the reference: scripts, forms and lengths that break exporters."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A text and what it tries: a language's code (ISO 639-1) or the name of a difficulty."""

    name: str
    text: str


# One ordinary sentence a language; each has its own script, or letters of its own.
_LANGUAGES = {
    "en": "The quick reader finds a recipe for tomato soup and saves it for the evening.",
    "de": "Über den Straßen von Köln hängt Nebel, während die Bäcker schon öffnen.",
    "fr": "L'été dernier, où êtes-vous allés pêcher près de l'œuvre abandonnée ?",
    "es": "¿Dónde está el cañón que señaló el pingüino? ¡Allí, junto al río!",
    "tr": "İstanbul'da ığdır ağaçlarının gölgesinde çay içtik.",
    "pl": "Zażółć gęślą jaźń, a potem wróć przed północą.",
    "vi": "Người dân trồng lúa nước ở đồng bằng sông Cửu Long.",
    "el": "Η γάτα κοιμάται στον ήλιο δίπλα στο παλιό λιμάνι.",
    "ru": "Съешь ещё этих мягких французских булок, да выпей же чаю.",
    "uk": "Їжак і ґава з'їли пів яблука під ґанком.",
    "ka": "ქართული ანბანი ლამაზია და მრგვალი ასოები აქვს.",
    "hy": "Հայերեն տառերը հորինել է Մեսրոպ Մաշտոցը։",
    "he": "שלום לכולם, הספרייה פתוחה היום עד שמונה בערב.",
    "ar": "تفتح المكتبة أبوابها في الساعة التاسعة صباحًا كل يوم.",
    "fa": "کتاب‌خانه هر روز تا ساعت هشت باز است.",
    "hi": "पुस्तकालय हर दिन सुबह नौ बजे खुलता है।",
    "bn": "বাংলা ভাষায় নদী আর বৃষ্টির অনেক গান আছে।",
    "pa": "ਪੰਜਾਬ ਪੰਜ ਦਰਿਆਵਾਂ ਦੀ ਧਰਤੀ ਹੈ।",
    "gu": "ગુજરાતી ભોજન મીઠું અને તીખું હોય છે.",
    "ta": "தமிழ் மொழி மிகவும் பழமையான மொழிகளில் ஒன்று.",
    "te": "తెలుగు అక్షరాలు గుండ్రంగా ఉంటాయి.",
    "kn": "ಕನ್ನಡ ನಾಡಿನ ನದಿಗಳು ಪೂರ್ವಕ್ಕೆ ಹರಿಯುತ್ತವೆ.",
    "ml": "കേരളത്തിൽ മഴക്കാലം ജൂണിൽ തുടങ്ങുന്നു.",
    "si": "සිංහල අකුරු රවුම් හැඩැතිය.",
    "th": "ภาษาไทยเขียนติดกันโดยไม่เว้นวรรคระหว่างคำ",
    "lo": "ພາສາລາວມີສຽງວັນນະຍຸດຫຼາຍສຽງ.",
    "km": "ភាសាខ្មែរមានអក្សរច្រើនជាងគេ។",
    "my": "မြန်မာစာကို အဝိုင်းလေးများဖြင့် ရေးသည်။",
    "bo": "བོད་ཡིག་ནི་གནའ་བོའི་ཡི་གེ་ཞིག་ཡིན།",
    "am": "አማርኛ በግዕዝ ፊደል ይጻፋል።",
    "ja": "図書館は毎朝九時に開きます。カタカナもひらがなもあります。",
    "zh": "圖書館每天早上九點開門,图书馆晚上八点关门。",
    "ko": "도서관은 매일 아침 아홉 시에 문을 엽니다.",
    "mn": "Монгол бичиг ᠮᠣᠩᠭᠣᠯ дээрээс доош бичигддэг.",
    "chr": "ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ ᎠᏍᎦᏯ",
}

# Difficulties: whitespace and newlines reach a byte-level BPE untouched; NFD must be composed first;
# special tokens in a text are parsed as special; joiners, selectors and lone marks are bytes of their own.
_FORMS = {
    "newlines": "first line\nsecond line\r\n\n\tthird, indented\n",
    "prompt": "Instruct: Given a question, retrieve passages that can help answer the question.\nQuery: what is rank?",
    "spaces": "  two leading,   three inside, trailing \u00a0no-break  ",
    "code": "def f(x: int) -> dict[str, int]:\n    return {'k': x ** 2}  # naïve\n\nif x == \"main\":\n\tprint(f(3))",
    "json": '{"id": 10523, "tags": ["a/b", "c\\d"], "price": -3.14e-7, "ok": true}',
    "digits": "1234567890 3.1415926535 ١٢٣٤ 一二三 Ⅳ ½ 2026-11-24T08:15:00Z",
    "contractions": "I'M sure THEY'LL say it's we've they'd you're 'tis",
    "emoji": "👩‍👩‍👧‍👦 🇺🇦 👍🏽 ❤️‍🔥 ☺︎ 1️⃣ e\u0301",
    "nfd": unicodedata.normalize("NFD", "Ångström, café, Việt Nam, 한국어, が"),
    "compatibility": "ﬁle № ㎏ Ａｌｐｈａ ﷺ",
    "controls": "zero\u200bwidth, soft\u00adhyphen, \u202eright to left\u202c, bell\x07",
    "rare planes": "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𓀀𓂀 𠜎𠜱 🜁 𐍈",
    "url": "https://example.org/a?q=%C3%A9&lang=zh-CN#frag mailto:a.b+c@d.example",
    "mixed": "Das API-Gateway（网关）はтокенを проверяет ✓ עברית",
    "one letter": "a",
    "one space": " ",
    "empty": "",
    "repeated": "na " * 40,
}

_LONG_SENTENCE = " ".join(_LANGUAGES[code] for code in ("en", "ru", "ja", "hi"))

PROBES = tuple(Probe(name=name, text=text) for name, text in (_LANGUAGES | _FORMS).items())

# The texts of a sampled verification: few scripts, the forms that most often break
SAMPLE_NAMES = ("en", "ru", "ar", "hi", "th", "ja", "zh", "newlines", "code", "emoji", "nfd", "empty")


def over_long(tokens: int) -> Probe:
    """A text of more than `tokens` tokens: a multilingual BPE never spends 32 bytes of prose on one token."""
    repeats = tokens * 32 // len(_LONG_SENTENCE.encode()) + 1
    return Probe(name="over-long", text=" ".join([_LONG_SENTENCE] * repeats))
