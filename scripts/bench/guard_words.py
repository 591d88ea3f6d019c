"""Small words of eight languages that faults are planted with: written for this benchmark and taken from no language pack, so that a
guard is not measured by its own table."""

from __future__ import annotations

from collections.abc import Mapping

NUMBERS: Mapping[str, Mapping[int, str]] = {
    "en": {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight", 9: "nine", 10: "ten", 11: "eleven",
           12: "twelve", 14: "fourteen", 15: "fifteen", 18: "eighteen", 20: "twenty", 30: "thirty", 40: "forty", 50: "fifty",
           60: "sixty", 70: "seventy", 80: "eighty", 90: "ninety"},
    "es": {2: "dos", 3: "tres", 4: "cuatro", 5: "cinco", 6: "seis", 7: "siete", 8: "ocho", 9: "nueve", 10: "diez", 11: "once",
           12: "doce", 14: "catorce", 15: "quince", 18: "dieciocho", 20: "veinte", 30: "treinta", 40: "cuarenta",
           50: "cincuenta", 60: "sesenta", 70: "setenta", 80: "ochenta", 90: "noventa"},
    "fr": {2: "deux", 3: "trois", 4: "quatre", 5: "cinq", 6: "six", 7: "sept", 8: "huit", 9: "neuf", 10: "dix", 11: "onze",
           12: "douze", 14: "quatorze", 15: "quinze", 20: "vingt", 30: "trente", 40: "quarante", 50: "cinquante",
           60: "soixante"},
    "ru": {2: "два|две|двух|двум|двумя", 3: "три|трех|трём|тремя", 4: "четыре|четырех|четырём|четырьмя", 5: "пять|пяти|пяти|пятью",
           6: "шесть|шести|шести|шестью", 7: "семь|семи|семи|семью", 8: "восемь|восьми", 9: "девять|девяти",
           10: "десять|десяти", 11: "одиннадцать|одиннадцати", 12: "двенадцать|двенадцати", 14: "четырнадцать|четырнадцати",
           15: "пятнадцать|пятнадцати", 20: "двадцать|двадцати", 30: "тридцать|тридцати", 40: "сорок|сорока",
           50: "пятьдесят|пятидесяти"},
    "ar": {3: "ثلاثة|ثلاث", 4: "أربعة|أربع", 5: "خمسة|خمس", 6: "ستة|ست", 7: "سبعة|سبع", 8: "ثمانية|ثماني", 9: "تسعة|تسع",
           10: "عشرة|عشر", 20: "عشرون|عشرين", 30: "ثلاثون|ثلاثين", 40: "أربعون|أربعين", 50: "خمسون|خمسين", 60: "ستون|ستين"},
    "zh": {2: "两|二", 3: "三", 4: "四", 5: "五", 6: "六", 7: "七", 8: "八", 9: "九", 10: "十", 20: "二十", 30: "三十", 50: "五十"},
    "ja": {2: "二", 3: "三", 4: "四", 5: "五", 6: "六", 7: "七", 8: "八", 9: "九", 10: "十", 20: "二十", 30: "三十"},
    "ko": {2: "두", 3: "세", 4: "네", 5: "다섯", 6: "여섯", 7: "일곱", 8: "여덟", 9: "아홉", 10: "열", 20: "스무", 30: "서른"},
}  # fmt: skip
"""Number words; forms of one case or gender stand at the same place, so that a changed word keeps its form."""

COUNTED: Mapping[str, str] = {
    "zh": "(?=[个種种次周天名例项類类倍年月人岁歲位組组家条條期型级級期度支期线線号號百千])",
    "ja": "(?=[つ個種回人年日月度本枚箇ヵか週歳倍者])",
    "ko": "(?= (?:가지|번|명|개|배|차례|달|시간|종류|사람|주|살|군데|잔|쌍|곳|단계|세대)|(?:번째|가지|차례))",
}
"""What must follow a numeral in scripts without spaces for it to be one."""
SPELLED: Mapping[str, str] = {
    "zh": "[个种次周天名例项类倍]",
    "ja": "[つ回人種個倍]",
    "ko": "(?:가지|번|명|개|시간|달|배)(?![가-힣]월)",
}
"""What is counted with words as often as with digits."""

SCALES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "en": (("million", "billion"), ("billion", "million"), ("thousand", "million"), ("hundred", "thousand")),
    "es": (("millones", "mil"), ("mil", "millones")),
    "fr": (("millions", "milliards"), ("milliards", "millions"), ("mille", "millions")),
    "ru": (("миллионов", "миллиардов"), ("миллиона", "миллиарда"), ("миллион", "миллиард"), ("тысяч", "миллионов"),
           ("млн", "млрд"), ("миллиардов", "миллионов")),
    "ar": (("مليون", "مليار"), ("مليار", "مليون"), ("ملايين", "مليارات"), ("ألف", "مليون"), ("آلاف", "ملايين")),
    "zh": (("万", "亿"), ("亿", "万"), ("千", "百"), ("百", "千")),
    "ja": (("万", "億"), ("億", "万"), ("千", "百"), ("百", "千")),
    "ko": (("만", "억"), ("억", "만"), ("천", "백"), ("백", "천")),
}  # fmt: skip

SYMBOLS: Mapping[str, str] = {
    "mg": "mg", "g": "g", "kg": "kg", "ug": "µg|μg|mcg", "mL": "mL|ml", "L": "L|l", "dL": "dL|dl", "cm": "cm", "mm": "mm",
    "m": "m", "km": "km", "nm": "nm", "mol": "mol|mmol", "kcal": "kcal",
}  # fmt: skip
"""Symbols that every language writes."""

UNITS: Mapping[str, Mapping[str, str]] = {
    "en": {"h": "hour|hours", "d": "day|days", "wk": "week|weeks", "mo": "month|months", "a": "year|years",
           "min": "minute|minutes", "mg": "milligram|milligrams", "g": "gram|grams", "m": "meter|meters|metres",
           "km": "kilometer|kilometers|kilometres"},
    "es": {"h": "hora|horas", "d": "día|días", "wk": "semana|semanas", "mo": "mes|meses", "a": "año|años",
           "min": "minuto|minutos", "mg": "miligramo|miligramos", "g": "gramo|gramos", "m": "metro|metros",
           "km": "kilómetro|kilómetros"},
    "fr": {"h": "heure|heures", "d": "jour|jours", "wk": "semaine|semaines", "mo": "mois|mois", "a": "an|ans",
           "min": "minute|minutes", "mg": "milligramme|milligrammes", "g": "gramme|grammes", "m": "mètre|mètres",
           "km": "kilomètre|kilomètres"},
    "ru": {"h": "час|часа|часов", "d": "день|дня|дней", "wk": "неделя|недели|недель", "mo": "месяц|месяца|месяцев",
           "a": "год|года|лет", "min": "минута|минуты|минут", "mg": "мг|мг|мг", "g": "г|г|г", "kg": "кг|кг|кг",
           "ug": "мкг|мкг|мкг", "mL": "мл|мл|мл", "L": "л|л|л", "mm": "мм|мм|мм", "cm": "см|см|см", "m": "м|метра|метров",
           "km": "км|километра|километров", "nm": "нм|нм|нм"},
    "ar": {"h": "ساعة|ساعات", "d": "يوم|أيام|يومًا|يوما", "wk": "أسبوع|أسابيع|أسبوعًا|أسبوعا", "mo": "شهر|أشهر|شهرًا|شهرا",
           "a": "سنة|سنوات|عامًا|عاما", "min": "دقيقة|دقائق", "mg": "ملغ|ملغم", "g": "غ|غم", "kg": "كغ|كغم", "mL": "مل|مل",
           "L": "لتر|لتر", "mm": "ملم|مم", "cm": "سم|سم", "m": "متر|أمتار", "km": "كيلومتر|كيلومترات", "nm": "نانومتر|نانومتر"},
    "zh": {"h": "小时", "d": "天|日", "wk": "周|星期", "mo": "个月", "a": "年", "min": "分钟", "mg": "毫克", "g": "克", "kg": "公斤|千克",
           "ug": "微克", "mL": "毫升", "L": "升", "mm": "毫米", "cm": "厘米", "m": "米", "km": "公里|千米", "nm": "纳米"},
    "ja": {"h": "時間", "d": "日", "wk": "週間|週", "mo": "か月|ヶ月|カ月", "a": "年", "min": "分", "mg": "ミリグラム",
           "g": "グラム", "mL": "ミリリットル", "L": "リットル"},
    "ko": {"h": "시간", "d": "일", "wk": "주", "mo": "개월|달", "a": "년", "min": "분", "mg": "밀리그램", "g": "그램", "mL": "밀리리터",
           "L": "리터", "m": "미터", "km": "킬로미터"},
}  # fmt: skip
SWAPS: Mapping[str, tuple[str, ...]] = {
    "mg": ("g", "ug"), "g": ("mg", "kg"), "kg": ("g",), "ug": ("mg",), "mL": ("L",), "L": ("mL",), "h": ("d", "min"),
    "d": ("h", "wk"), "wk": ("d", "mo"), "mo": ("wk", "a"), "a": ("mo",), "min": ("h",), "cm": ("mm", "m"), "mm": ("cm",),
    "m": ("cm", "km"), "km": ("m",), "nm": ("mm",), "dL": ("mL",),
}  # fmt: skip
PERCENT = (
    r"\s?(?:[%٪％]|pour cent\b|por ciento\b|percent\b|per cent\b|процент\w*|パーセント|퍼센트|بالمائة|في المائة|بالمئة)"
)

DENIED: Mapping[str, tuple[tuple[str, str], ...]] = {
    "en": ((r"\b(is|are|was|were|does|do|did|has|have|had|should|must|may|could|would|will|can) not\b", r"\1"),
           (r"\bcannot\b", "can"), (r"\bwithout\b", "with"), (r"\b(?:no|not) (?=[a-z])", ""), (r"\bnever\b", "always")),
    "es": ((r"\bno (?=(?:es|son|se|hay|ha|han|está|están|puede|pueden|tiene|tienen|debe|deben|fue|era|existe|existen|hubo)\b)", ""),
           (r"\bsin\b", "con"), (r"\bnunca\b", "siempre"), (r"\bno (?=[a-záéíóú]{4,})", "")),
    "fr": ((r"\bn['’](est|a|ont|était|avait|existe) pas\b", r"\1"), (r"\bne (\w+) (?:pas|plus|jamais)\b", r"\1"),
           (r"\bsans\b", "avec"), (r"\baucune?\b", "quelque"), (r"\bnon (?=[a-zé]{4,})", "")),
    "ru": ((r"\bне (?=[а-яё]{3,})", ""), (r"\bбез (?=[а-яё]{3,})", "с "), (r"\bнет (?=[а-яё]{3,})", "есть ")),
    "ar": ((r"(?<![\w])لا (?=\w{3,})", ""), (r"(?<!\w)لم (?=\w{3,})", ""), (r"(?<!\w)(?:بدون|دون) (?=\w)", "مع "),
           (r"(?<!\w)لن (?=\w)", "سوف "), (r"(?<!\w)غير (?=\w)", ""), (r"(?<!\w)(?:ليس|ليست) (?=\w)", "هو ")),
    "zh": ((r"不(?=[能会是可应需得存在])", ""), ("没有", "有"), (r"无(?=症状|发热|明显|关|须|需|法|效)", "有"),
           ("未(?!来|成年|满)", "已"),
           ("尚不", "已经"), ("并非", "是")),
    "ja": (("ではない", "である"), ("できない", "できる"), ("しない", "する"), ("されない", "される"), ("はない", "はある"),
           ("認めない", "認める"), ("なかった", "あった"), ("ていない", "ている"), ("せず", "し"), ("なし", "あり"), ("誤っている",
           "正しい"),
           ("でない", "である"), ("がない", "がある")),
    "ko": ((r"수 없", "수 있"), (r"지 않는다", "는다"), (r"지 않은", "은"), (r"지 않는", "는"), (r"지 않", "게 되"), (r" 없는 ",
           " 있는 "),
           (r"없다", "있다"), (r"없었다", "있었다"), (r"없이 ", "있게 "), (r"아니다", "맞다"), (r"지 마", "")),
}  # fmt: skip
"""Patterns of a negation and what stands there when it is taken away."""

AFFIRMED: Mapping[str, tuple[tuple[str, str], ...]] = {
    "en": ((r"\b(is|are|was|were|should|must|could|would|will|may|has been|have been)\b(?! not| no\b|\?)(?= [a-z])", r"\1 not"),
           (r"\bcan (?=[a-z])", "cannot "), (r"\bwith (?=[a-z])", "without ")),
    "es": ((r"(?<!no )\b(?=(?:es|son|está|están|puede|pueden|debe|deben|tiene|tienen|hay|fue|fueron|ha|han) \w)", "no "),
           (r"\bcon (?=[a-z])", "sin ")),
    "fr": ((r"(?<!ne )(?<!['’])\b(sont|peut|peuvent|doit|doivent|sera|seront|permet|présente) (?!pas|plus)(?=\w)", r"ne \1 pas "),
           (r"(?<!n['’])\b(est|ont|était|étaient) (?!pas|plus)(?=\w)", r"n'\1 pas "), (r"\bavec (?=[a-z])", "sans ")),
    "ru": ((r"(?<!не )\b(?=(?:является|являются|может|могут|был|была|были|должны|должен|следует|имеет|имеют|рекомендуется|будет|"
            r"вызывает|приводит|показал|показали)\b)", "не "),),
    "ar": ((r"(?<!\w)(?<!لا )(?=(?:يمكن|تكون|يكون|يوجد|توجد|يتم|تتم|ينبغي|يجب|تستخدم|يستخدم|يوصى|تعد|يعد)\s)", "لا "),),
    "zh": ((r"(?<![不还但只可凡若于总就也都或])(?=是)", "不"), (r"(?<![不可才功性])(?=能[够使在引对])", "不"),
           (r"(?<![不机])(?=会[导引在有])", "不"),
           (r"(?<![不还])(?=可以)", "不"), (r"(?<![没具含所])有(?=症状|发热|证据|效果|助|疫苗)", "没有")),
    "ja": (("である", "ではない"), ("できる", "できない"), (r"されている", "されていない"), (r"を認める", "を認めない"),
           (r"する。", "しない。"),
           (r"した。", "しなかった。"), (r"であった", "ではなかった"), ("がある", "がない")),
    "ko": ((r"수 있", "수 없"), (r"한다\.", "하지 않는다."), (r"이다\.", "이 아니다."), (r"하였다\.", "하지 않았다."), (r"했다\.",
           "하지 않았다."),
           (r"된다\.", "되지 않는다."), (r"이 있", "이 없"), ("가 있", "가 없"), (r"있다\.", "없다."), (r"되었다\.", "되지 않았다.")),
}  # fmt: skip

NEGATIONS: Mapping[str, str] = {
    "en": r"\b(?:no|not|cannot|never|without|none|neither|nor|false|incorrect|wrong|except)\b|n['’]t\b",
    "es": r"\b(?:no|sin|nunca|ningun\w*|ningún|ni|falsa?|incorrect\w+|excepto)\b",
    "fr": r"\b(?:ne|sans|jamais|aucune?|ni|non|faux|fausse|sauf)\b|\bn['’]",
    "ru": r"\b(?:не|ни|нет|без|нельзя|кроме)\b",
    "ar": r"(?<!\w)[وف]?(?:لا|لم|لن|ليس\w*|غير|بدون|دون|عدم|خاطئ\w*|باستثناء|بلا)(?!\w)",
    "zh": "[不没無无未非]|除外|错误",
    "ja": "ない|なかっ|なし|せず|ません|誤っ",
    "ko": "없|않|아니|못|안 |지 마",
}
"""What plainly denies: where the two sides differ in how often they do, nothing is planted that would make them alike."""

NOT_ONLY: Mapping[str, str] = {
    "en": "not only|whether or not|not just|not merely|no later|not later", "es": "no s[oó]lo|no solamente",
        "fr": "non seulement|ne seulement",
    "ru": "не только|не менее|не более|не позднее", "ar": "لا سيما|ليس فقط|لا يقل|لا يزيد|لا تزال|لا يزال",
    "zh": "不仅|不只|不但|不少|不超|不低|不高|不多|不同|不是只", "ja": "だけではない|だけでない|かもしれない|しかない", "ko": "뿐만 아니",
}  # fmt: skip
"""Negations whose loss says nearly the same."""

SIDES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "en": (("left", "right"),),
    "es": (("izquierdos", "derechos"), ("izquierdas", "derechas"), ("izquierdo", "derecho"), ("izquierda", "derecha")),
    "fr": (("gauches", "droites"), ("gauche", "droite"), ("gauche", "droit")),
    "ru": tuple((f"лев{end}", f"прав{end}") for end in ("ой", "ая", "ый", "ого", "ом", "ую", "ые", "ых", "ым", "ое", "ого")),
    "ar": (("الأيسر", "الأيمن"), ("اليسرى", "اليمنى"), ("أيسر", "أيمن"), ("يسرى", "يمنى"), ("اليسار", "اليمين")),
    "zh": (("左", "右"),), "ja": (("左", "右"),), "ko": (("왼쪽", "오른쪽"), ("좌측", "우측"), ("왼", "오른")),
}  # fmt: skip

COMPARISONS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "en": (("more than", "less than"), ("at least", "at most"), ("greater than", "less than"), ("higher than", "lower than"),
           ("over", "under"), ("above", "below"), ("or more", "or less"), ("older than", "younger than")),
    "es": (("más de", "menos de"), ("al menos", "como máximo"), ("mayor de", "menor de"), ("mayores de", "menores de"),
           ("superior a", "inferior a"), ("mayor que", "menor que"), ("por encima de", "por debajo de"), ("o más", "o menos")),
    "fr": (("plus de", "moins de"), ("au moins", "au plus"), ("supérieure à", "inférieure à"), ("supérieur à", "inférieur à"),
           ("ou plus", "ou moins"), ("supérieurs à", "inférieurs à"), ("au-dessus de", "au-dessous de")),
    "ru": (("не менее", "не более"), ("более", "менее"), ("больше", "меньше"), ("выше", "ниже"), ("старше", "младше"),
           ("свыше", "менее"), ("по меньшей мере", "не более")),
    "ar": (("أكثر من", "أقل من"), ("على الأقل", "على الأكثر"), ("أكبر من", "أصغر من"), ("أعلى من", "أدنى من"),
           ("فوق", "تحت"), ("ما يزيد عن", "ما يقل عن")),
    "zh": (("以上", "以下"), ("至少", "至多"), ("超过", "低于"), ("大于", "小于"), ("高于", "低于"), ("多于", "少于"), ("不少于",
           "不超过")),
    "ja": (("以上", "以下"), ("を超える", "未満の"), ("より大きい", "より小さい"), ("より高い", "より低い")),
    "ko": (("이상", "이하"), ("초과", "미만"), ("적어도", "많아야"), ("최소", "최대"), ("넘는", "미만인")),
}  # fmt: skip
"""A lower bound and the upper bound that it is turned into, and the other way."""
SIGNS = ((">", "<"), ("≥", "≤"), ("≧", "≦"), ("＞", "＜"))

CHATTER: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "en": (("Here is the translation:\n", "Sure! Here's the translated text:\n\n", "Translation: ",
        "Certainly. Below is the translation of the text:\n",
            "Of course, here you go:\n"),
           ("\n\nLet me know if you need anything else!", "\n\nNote: medical terms were translated as literally as possible.",
            "\n\nI hope this helps.", "\n(Translated by an AI language model.)")),
    "es": (("Aquí está la traducción:\n", "Por supuesto, aquí tienes el texto traducido:\n", "Traducción: ",
        "¡Claro! A continuación, la traducción:\n"),
           ("\n\nEspero que esto te ayude.", "\n\nNota: he mantenido los términos médicos.", "\n\n¿Necesitas algo más?")),
    "fr": (("Voici la traduction :\n", "Bien sûr, voici le texte traduit :\n", "Traduction : ",
        "Voici la traduction demandée en français :\n"),
           ("\n\nJ'espère que cela vous aide.", "\n\nN'hésitez pas si vous avez d'autres questions.",
               "\n\nRemarque : les termes médicaux ont été conservés.")),
    "ru": (("Вот перевод:\n", "Конечно! Вот перевод текста:\n", "Перевод: ", "Ниже приведён перевод на русский язык:\n"),
           ("\n\nНадеюсь, это поможет.", "\n\nЕсли у вас есть вопросы, обращайтесь.", "\n\nПримечание: медицинские термины сохранены.")),
    "ar": (("إليك الترجمة:\n", "بالطبع، إليك النص المترجم:\n", "الترجمة: ", "فيما يلي الترجمة إلى اللغة العربية:\n"),
           ("\n\nآمل أن يكون هذا مفيدًا.", "\n\nهل تحتاج إلى مساعدة أخرى؟", "\n\nملاحظة: تم الحفاظ على المصطلحات الطبية.")),
    "zh": (("以下是翻译：\n", "好的，这是译文：\n", "翻译：", "当然，翻译如下：\n"),
           ("\n\n希望对您有所帮助。", "\n\n如有其他问题，请随时告诉我。", "\n\n注：医学术语保持不变。")),
    "ja": (("以下は翻訳です：\n", "はい、翻訳は次のとおりです。\n", "翻訳：", "もちろんです。以下が日本語訳です。\n"),
           ("\n\nお役に立てれば幸いです。", "\n\n他にご質問があればお知らせください。", "\n\n注：医学用語はそのまま残しました。")),
    "ko": (("다음은 번역입니다:\n", "네, 번역문은 다음과 같습니다.\n", "번역: ", "물론입니다. 아래는 한국어 번역입니다:\n"),
           ("\n\n도움이 되었기를 바랍니다.", "\n\n추가 질문이 있으시면 알려주세요.", "\n\n참고: 의학 용어는 그대로 유지했습니다.")),
}  # fmt: skip
"""What a model says before and after its answer."""
