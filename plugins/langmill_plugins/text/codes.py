"""Names of languages: the two letters of ISO 639-1 for the three of ISO 639-2 and ISO 639-3."""

from __future__ import annotations

# ISO 639-3 -> 639-1, members of macrolanguages as lid.176 names the whole; the last two lines are the bibliographic codes of 639-2.
_TWO_LETTERS = """
afr:af als:sq amh:am ara:ar arb:ar arg:an asm:as ava:av azj:az aze:az bak:ba bel:be ben:bn bod:bo bos:bs bre:br
bul:bg cat:ca ces:cs che:ce chv:cv cmn:zh cor:kw cos:co cym:cy dan:da deu:de div:dv ekk:et ell:el eng:en epo:eo
est:et eus:eu fas:fa fin:fi fra:fr fry:fy gla:gd gle:ga glg:gl glv:gv grn:gn gug:gn guj:gu hat:ht hau:ha heb:he
hin:hi hrv:hr hun:hu hye:hy ibo:ig ido:io ina:ia ind:id isl:is ita:it jav:jv jpn:ja kan:kn kat:ka kaz:kk khk:mn
khm:km kin:rw kir:ky kmr:ku kom:kv kor:ko kur:ku lao:lo lat:la lav:lv lvs:lv lim:li lit:lt ltz:lb lug:lg mal:ml
mar:mr mkd:mk mlg:mg mlt:mt mon:mn mri:mi msa:ms mya:my nep:ne npi:ne nld:nl nno:nn nob:no nor:no oci:oc ori:or
ory:or oss:os pan:pa pbt:ps pes:fa plt:mg pol:pl por:pt pus:ps que:qu quy:qu roh:rm ron:ro rus:ru san:sa sin:si
slk:sk slv:sl sna:sn snd:sd som:so spa:es sqi:sq srd:sc srp:sr sun:su swa:sw swh:sw swe:sv tam:ta tat:tt tel:te
tgk:tg tgl:tl tha:th tir:ti tuk:tk tur:tr uig:ug ukr:uk urd:ur uzb:uz uzn:uz vie:vi vol:vo wln:wa wol:wo xho:xh
ydd:yi yid:yi yor:yo zho:zh zsm:ms zul:zu
alb:sq arm:hy baq:eu bur:my chi:zh cze:cs dut:nl fre:fr geo:ka ger:de gre:el ice:is mac:mk mao:mi may:ms per:fa rum:ro
slo:sk tib:bo wel:cy
"""
_SHORTER = dict(pair.split(":") for pair in _TWO_LETTERS.split())


def two_letters(code: str) -> str:
    """A code of three letters as one of two, where there is one; any other as it is."""
    return _SHORTER.get(code, code)
