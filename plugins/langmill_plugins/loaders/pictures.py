"""Questions of English and Chinese examinations that point at a picture or a table."""

from __future__ import annotations

import re

# A picture that has to be seen. "Laboratory values are shown below" brings them in the text, so 'shown' needs a picture's name.
IN_ENGLISH = re.compile(
    r"\b(shown|seen|depicted|given|displayed|provided|presented) (in|on|as) (the |an? )?((accompanying|adjacent|attached|following) )?"
    r"(picture|image|figure|exhibit|photograph|photo|diagram|illustration)\b"
    r"|\bsee (the )?(image|figure|exhibit|picture|photograph)\b"
    r"|\b(image|figure) (A|B|C|1|2|3)\b|\b(picture|graph|image) shows\b|\b(is|are) shown\."
    r"|\b(photo(micro)?graph|radiograph|x-ray|CXR|CT|MRI|tomography|tomogram|smear|ECG|EKG|electrocardiogram|echocardiogram|ultrasound"
    r"|ultrasonography|image|histology|angiogram|angiography|electrophoresis result|pressure-volume loop)\b[^.?!]{0,300}"
    r"\b(is|are|as) (shown|depicted|pictured)\b(?! (by|to|normal)\b)"
    r"|\b(lesions?|rash|findings?|appearance)\b[^.?!]{0,300}\b(pictured|(as|is) shown( below)?(?=[.,]))",
    re.IGNORECASE,
)
# "as the picture shows", "see the table below"; 心电图 (electrocardiogram) and 表面 (surface) need no picture
IN_CHINESE = re.compile(r"[如见][下右左上附]?图|[下右左附]图|[如见][下附]表|见表\d")
POINTING = {"en": IN_ENGLISH, "zh": IN_CHINESE}
