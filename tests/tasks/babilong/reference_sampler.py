"""The published rule of drawing background, literally and slowly: texts in, lists of ids out."""

from nltk.tokenize.punkt import PunktSentenceTokenizer

CHARS_PER_TOKEN = 10
MIN_SENTENCE_LEN = 10


class ReferenceSampler:
    """Cuts pieces out of whole texts, splits each of them with Punkt, and encodes as it reads."""

    def __init__(self, texts, encode, dice, *, max_sentence_len=None, is_shuffled=True):
        self.texts = texts
        self.encode = encode
        self.dice = dice
        self.max_sentence_len = max_sentence_len
        self.is_shuffled = is_shuffled
        self.punkt = PunktSentenceTokenizer()
        self.pending = []
        self.turn = 0
        self.cuts = []

    def take(self, num_tokens):
        """Returns the ids of each sentence read, the last one trimmed at its right end."""
        taken = []
        total = 0
        while True:
            for position, sentence in enumerate(self.pending):
                ids = self.encode(" " + sentence)
                if len(ids) < MIN_SENTENCE_LEN:
                    continue
                if self.max_sentence_len is not None and len(ids) > self.max_sentence_len:
                    continue
                taken.append(ids)
                total += len(ids)
                if total >= num_tokens:
                    self.pending = self.pending[position + 1 :]
                    surplus = total - num_tokens
                    if surplus > 0:
                        taken[-1] = taken[-1][:-surplus]
                    return taken
            self.pending = []
            self.refill(num_tokens)

    def refill(self, num_tokens):
        while not self.pending:
            if self.is_shuffled:
                number = self.dice.pick(range(len(self.texts)))
                start = self.dice.below(len(self.texts[number]))
                self.cuts.append((number, start, num_tokens * CHARS_PER_TOKEN))
                piece = self.texts[number][start : start + num_tokens * CHARS_PER_TOKEN]
                self.pending = self.punkt.tokenize(piece)[1:-1]
            else:
                piece = self.texts[self.turn % len(self.texts)]
                self.turn += 1
                self.pending = self.punkt.tokenize(piece)
