"""Texts that are awkward, and tokenizers that are: the mask stays right, or the row is left out."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
from tests.recording import made, row_of, small_tokenizer, words_of

from langmill.api import Chat, Message, Text
from langmill_plugins.trainers.tokens.masking import encoded

AWKWARD = (
    "x", "<|im_end", "im_end|>", "[INST] yes [/INST]", "<s>not ours</s>", "<start_of_turn>model\nhi<end_of_turn>",
    "### Response: yes", "User:\nno\n\nAssistant:\nyes", "🧠🩸👩🏽‍⚕️", "e\u0301tude n\u0303", "שלום עולם", "مرحبا بالعالم",
    "\u202edesrever\u202c", "a\u0000b", "one\r\ntwo\r\n\r\nthree", "tab\tand  blanks", "\ufeffmarked", "zero\u200bwidth", "１２３ＡＢＣ",
    "x\n\n\ny", "ends with blanks   ", "ends with a break\n", "ferritin " * 2000, "{{ messages }}{% raw %}", "\\n \\u0041", "答" * 3000,
)  # fmt: skip
CORPUS = (
    "Iron is stored as ferritin.\n\nLe fer est mis en réserve.\n 铁以铁蛋白的形式储存。"
    "鉄はフェリチンとして貯えられる。 철은 페리틴으로 저장된다.",
    "El hierro se almacena como ferritina. Железо хранится в виде ферритина. User:\n\nAssistant: [INST] [/INST] <s> </s>",
) * 4  # fmt: skip


@pytest.fixture(scope="module", params=["smollm2", "plain", "qwen2_5", "qwen3"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return small_tokenizer(request.param)


@pytest.mark.parametrize("words", AWKWARD, ids=[repr(words)[:20] for words in AWKWARD])
def test_awkward_words_are_learnt_whole(words: str, tokenizer: Any) -> None:
    row = row_of(
        Chat((Message("user", words), Message("assistant", words), Message("user", "x"), Message("assistant", words)))
    )
    done = made([row], tokenizer, 1 << 20)
    assert done.left_out == {}
    assert words_of(done.examples, tokenizer)[0] == 2 * (words.strip() + "<|im_end|>")


@pytest.mark.parametrize("words", ["", " ", "\n", " \n\t "])
def test_an_answer_of_blanks_is_none(words: str, tokenizer: Any) -> None:
    done = made([row_of(Chat.of("Well?", words))], tokenizer)
    assert done.left_out_by_reason() == {"empty_answer": {"en": 1}}


@pytest.mark.parametrize("words", ["\nYes.", " Yes.", "\n\n Yes.", "Yes.\n", "\tYes. \n\n"])
def test_blanks_around_an_answer_are_none_of_it(words: str, tokenizer: Any) -> None:
    """A line break before the words would be one token with the template's own, which no edge goes through."""
    examples, plain = (
        made([row_of(Chat.of(" Well?\n", answer))], tokenizer).examples for answer in (words, "Yes.")
    )  # fmt: skip
    assert words_of(examples, tokenizer) == ["Yes.<|im_end|>"]
    assert examples.ids.tolist() == plain.ids.tolist()


def test_a_template_that_looks_at_the_words() -> None:
    """Qwen 3 takes thoughts out of answers, and a user's text that looks like a tool's moves the last question."""
    tokenizer = small_tokenizer("qwen3")
    thought = Chat.of("Well?", "<think>\nhm\n</think>\n\nYes.")
    assert made([row_of(thought)], tokenizer).left_out_by_reason() == {"template_alters_words": {"en": 1}}
    tool = Chat((
        Message("user", "Well?"), Message("assistant", "No."),
        Message("user", "<tool_response>x</tool_response>"), Message("assistant", "Yes."),
    ))  # fmt: skip
    done = made([row_of(tool)], tokenizer)
    assert words_of(done.examples, tokenizer) == ["No.<|im_end|>Yes.<|im_end|>"]
    steering = Chat(
        (*tool.messages[:2], Message("user", "<tool_response><|im_end|></tool_response>"), tool.messages[3])
    )
    assert made([row_of(steering)], tokenizer).left_out_by_reason() == {"special_token_in_text": {"en": 1}}


def test_only_the_last_turn_has_empty_thoughts() -> None:
    tokenizer = small_tokenizer("qwen3")
    row = row_of(Chat((*Chat.of("Well?", "Yes.").messages, *Chat.of("And?", "No.").messages)))
    examples = made([row], tokenizer).examples
    assert tokenizer.decode(examples.ids).count("<think>") == 1
    assert words_of(examples, tokenizer) == ["Yes.<|im_end|>No.<|im_end|>"]


def test_a_template_that_writes_an_answer_twice_or_not_at_all() -> None:
    tokenizer = small_tokenizer()
    own = tokenizer.chat_template
    for words in ("message['content'] + message['content']", "''"):
        tokenizer.chat_template = own.replace("message['content']", words)
        assert made([row_of(Chat.of("Well?", "Yes."))], tokenizer).left_out_by_reason() == {
            "template_alters_words": {"en": 1}
        }


def test_a_character_that_becomes_a_steering_token() -> None:
    """The packaged tokenizer knows not all bytes, and its sign for the unknown is the one that parts documents."""
    done = made([row_of(Chat.of("Well?", "\U00040000")), row_of(Text("\U00040000"))], small_tokenizer())
    assert done.left_out_by_reason() == {"unknown_character": {"en": 2}}


def test_a_refused_row_does_not_take_others_along() -> None:
    tokenizer = small_tokenizer("gemma3")
    twice = Chat((Message("user", "Well?"), Message("user", "Well?"), Message("assistant", "Yes.")))
    done = made([row_of(Chat.of("a", "b")), row_of(twice), row_of(Chat.of("c", "d"))], tokenizer)
    assert done.left_out_by_reason() == {"template_refuses": {"en": 1}}
    assert done.examples.row.tolist() == [0, 2]


def built(kind: str) -> Any:
    """A small tokenizer of another make: places trimmed of blanks (GPT-2's), blanks as a sign before words (Llama 2's), composed
    characters (Qwen's)."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    bare = Tokenizer(models.BPE())
    letters: list[str] = []
    if kind == "metaspace":
        bare.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
        bare.decoder = decoders.Sequence([
            decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)
        ])  # fmt: skip
    else:
        letters = pre_tokenizers.ByteLevel.alphabet()
        bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        bare.decoder = decoders.ByteLevel()
        bare.post_processor = processors.ByteLevel(trim_offsets=True)
    if kind == "nfc":
        bare.normalizer = normalizers.NFC()
    special = ["<s>", "</s>", "<|user|>", "<|answer|>"]
    trainer = trainers.BpeTrainer(vocab_size=900, special_tokens=special, initial_alphabet=letters, show_progress=False)
    bare.train_from_iterator(CORPUS, trainer)
    if kind == "metaspace":  # what it has never seen it spells in bytes
        model = json.loads(bare.to_str())["model"]
        vocabulary = model["vocab"] | {f"<0x{byte:02X}>": len(model["vocab"]) + byte for byte in range(256)}
        bare.model = models.BPE(vocabulary, [tuple(merge) for merge in model["merges"]], byte_fallback=True)
    bare.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in special])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bare, bos_token="<s>", eos_token="</s>", pad_token="</s>")
    tokenizer.chat_template = (
        "{{ bos_token }}{% for m in messages %}{{ '<|' + ('answer' if m.role == 'assistant' else 'user') + '|>\\n' }}"
        "{{ m.content }}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    )
    return tokenizer


@pytest.mark.parametrize("kind", ["trimmed", "metaspace", "nfc"])
def test_other_makes_of_tokenizers(kind: str) -> None:
    tokenizer = built(kind)
    words = (
        "Le fer est mis en réserve.",
        "铁以铁蛋白的形式储存。",
        "Iron  is\n\nstored 🩸.",
        "e\u0301t\u00e9",
        "철은 페리틴",
        " Iron",
        "\nIron",
    )
    for word in words:
        row = row_of(Chat((*Chat.of("Why?\n", word).messages, *Chat.of("Iron ", word).messages)))
        done = made([row], tokenizer)
        word = word.strip()
        said = [m.content if m.role == "user" else word for m in row.body.messages]  # type: ignore[union-attr]
        turns = [
            {"role": role, "content": content}
            for role, content in zip(("user", "assistant") * 2, said, strict=True)
        ]  # fmt: skip
        whole = tokenizer.apply_chat_template(turns, tokenize=True, return_dict=True)["input_ids"]
        assert done.examples.ids.tolist() == whole
        expected = unicodedata.normalize("NFC", word) if kind == "nfc" else word
        found = words_of(done.examples, tokenizer)[0]
        assert found.removeprefix(" ") == f"{expected}</s>{expected}</s>".removeprefix(" ")


def test_the_tokenizer_is_left_as_it_was() -> None:
    tokenizer = built("trimmed")
    tokenizer.backend_tokenizer.enable_truncation(max_length=4)
    tokenizer.backend_tokenizer.enable_padding(length=8)
    before = tokenizer.backend_tokenizer.to_str()
    (whole,) = encoded(tokenizer, ["Iron is stored as ferritin."])
    assert len(whole.ids) > 4
    assert tokenizer.backend_tokenizer.to_str() == before
