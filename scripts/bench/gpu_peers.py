"""The peers of the GPU benchmark: TRL's SFTTrainer on a base in 4 bits, loaded by transformers or by unsloth, padded or packed."""

from __future__ import annotations

import time
from typing import Any

from bench.gpu_asked import ALPHA, LINEAR, RANK, Asked, Plan, Watch, folder_of, on_gpu


def peer(asked: Asked, plan: Plan, watch: Watch) -> dict[str, Any]:
    """Train a plan's examples in its order; returns what the peer made of it."""
    import torch
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    packed = asked.way.endswith("packed")
    model, tokenizer, adapter = (_notebook if asked.way.startswith("notebook") else _plain)(asked)
    order = [one for step in plan.steps for one in step]
    ids = [plan.examples.ids_of(one).tolist() for one in order]
    labels = [plan.examples.labels_of(one).tolist() for one in order]
    rows = Dataset.from_dict({"input_ids": ids, "labels": labels})
    gpu = on_gpu()
    # Packed rows are fewer and longer: as many lines a step as hold the rows of a step on the average.
    lines = max(1, round(sum(map(len, ids)) / len(plan.steps) / asked.max_tokens)) if packed else asked.width
    batch = min(int(asked.batch), lines)
    settings = SFTConfig(
        output_dir=asked.folder, max_length=asked.max_tokens, packing=packed, padding_free=packed, per_device_train_batch_size=batch,
        gradient_accumulation_steps=max(1, lines // batch), max_steps=asked.steps, learning_rate=asked.rate,
        lr_scheduler_type="constant", warmup_steps=0, weight_decay=0.0, optim="adamw_torch", logging_steps=1, save_strategy="no",
        report_to="none", disable_tqdm=True, bf16=gpu, use_cpu=not gpu, seed=17, train_sampling_strategy="sequential",
        gradient_checkpointing=gpu and asked.way.startswith("plain"), gradient_checkpointing_kwargs={"use_reentrant": False},
        dataset_num_proc=1, shuffle_dataset=False,
    )  # fmt: skip
    trainer = SFTTrainer(
        model=model,
        args=settings,
        train_dataset=rows,
        processing_class=tokenizer,
        callbacks=[_callback(watch)],
        peft_config=adapter,
    )
    trainer.train()
    if gpu:
        torch.cuda.synchronize()
    if not packed:
        return {"batch": batch, "accumulate": max(1, lines // batch)}
    seen = [
        trainer.train_dataset[at]
        for at in range(min(len(trainer.train_dataset), asked.steps * batch * max(1, lines // batch)))
    ]
    per = batch * max(1, lines // batch)
    made: dict[str, list[int]] = {"tokens": [], "answers": [], "squares": []}
    for at in range(0, len(seen), per):
        some = seen[at : at + per]
        made["tokens"].append(sum(len(one["input_ids"]) for one in some))
        made["answers"].append(sum(label != -100 for one in some for label in one["labels"]))
        made["squares"].append(
            sum(length**2 for one in some for length in one.get("seq_lengths", [len(one["input_ids"])]))
        )
    return {"batch": batch, "accumulate": max(1, lines // batch), "lines": len(trainer.train_dataset), "steps_of": made}


def _plain(asked: Asked) -> tuple[Any, Any, Any]:
    import torch
    from peft import LoraConfig, prepare_model_for_kbit_training
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    folder, gpu = folder_of(asked), on_gpu()
    packed = None
    if gpu:
        packed = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.bfloat16 if gpu else torch.float32, quantization_config=packed, device_map={"": 0} if gpu else None,
        attn_implementation="sdpa", local_files_only=True, use_safetensors=True,
    )  # fmt: skip
    model.config.use_cache = False
    if gpu:
        model = prepare_model_for_kbit_training(model, gradient_checkpointing_kwargs={"use_reentrant": False})
    adapter = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=list(LINEAR), bias="none", task_type="CAUSAL_LM")
    return model, AutoTokenizer.from_pretrained(folder, local_files_only=True), adapter


def _notebook(asked: Asked) -> tuple[Any, Any, Any]:
    from unsloth import FastLanguageModel

    model, tokenizer = FastLanguageModel.from_pretrained(
        model_name=folder_of(asked), max_seq_length=asked.max_tokens, dtype=None, load_in_4bit=True, local_files_only=True,
        use_exact_model_name=True,
    )  # fmt: skip
    model = FastLanguageModel.get_peft_model(
        model, r=RANK, target_modules=list(LINEAR), lora_alpha=ALPHA, lora_dropout=0, bias="none",
        use_gradient_checkpointing="unsloth", random_state=3407,
    )  # fmt: skip
    return model, tokenizer, None


def _callback(watch: Watch) -> Any:
    import torch
    from transformers import TrainerCallback

    class Timed(TrainerCallback):  # type: ignore[misc]
        began = taken = 0.0

        def on_step_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            self.began = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.taken = time.perf_counter() - self.began

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
            if logs and "loss" in logs:
                watch.ended(float(logs["loss"]), self.taken)

    return Timed()
