"""The published rule of mixing facts into background, literally and slowly, on lists of tokens."""


def mix(sentences, facts, slots):
    """Tokens with fact k before sentence slots[k]; a slot after the last sentence is the end."""
    assert slots == sorted(slots)
    result = []
    for number in range(len(sentences) + 1):
        for fact, slot in zip(facts, slots, strict=True):
            if slot == number:
                result.extend(fact)
        if number < len(sentences):
            result.extend(sentences[number])
    return result


def fact_starts(sentences, facts, slots):
    """Tokens before each fact."""
    starts, position = [], 0
    for number in range(len(sentences) + 1):
        for fact, slot in zip(facts, slots, strict=True):
            if slot == number:
                starts.append(position)
                position += len(fact)
        if number < len(sentences):
            position += len(sentences[number])
    return starts


def slots_in_window(sentences, facts, size, start, end):
    """The gaps allowed between two shares of the context; never the one after the last sentence."""
    facts_len = sum(len(fact) for fact in facts)
    allowed, position = [], 0
    for number, sentence in enumerate(sentences):
        if start * size <= position < end * size - facts_len:
            allowed.append(number)
        position += len(sentence)
    return allowed


def cut_to(sentences, num_tokens):
    """Whole sentences until `num_tokens` are reached, the last one cut at its right end."""
    kept, total = [], 0
    for sentence in sentences:
        kept.append(list(sentence))
        total += len(sentence)
        if total >= num_tokens:
            break
    surplus = total - num_tokens
    if surplus > 0:
        kept[-1] = kept[-1][:-surplus]
    return kept


def is_kept(num_facts, budget):
    """Whether a sample survives the limit of lines: an eighth of the tokens, none at 0k."""
    if budget <= 0:
        return True
    max_n_facts = budget // 8
    return num_facts + 1 <= max_n_facts
