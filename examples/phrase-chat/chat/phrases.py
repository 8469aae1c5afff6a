import re
import shutil
import subprocess

import numpy as np


class Phrases:
    def __init__(self, path):
        with np.load(path) as file:
            self.phrases = [str(phrase) for phrase in file["phrases"]]
        self.words = [self.split(phrase) for phrase in self.phrases]

    @staticmethod
    def split(text):
        return set(re.findall(r"[a-z]{3,}", text.lower()))

    def best(self, message):
        asked = self.split(message)
        scores = [len(asked & words) for words in self.words]
        return self.phrases[int(np.argmax(scores))] if max(scores) else "Tell me more."

    @staticmethod
    def fortune():
        program = shutil.which("fortune", path="/usr/games:/usr/bin")
        if program is None:
            return "Say something."
        return subprocess.run([program, "-s"], capture_output=True, text=True, check=False).stdout
