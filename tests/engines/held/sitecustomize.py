"""A slow disk for one worker machine: a file that is complete waits, before it gets its name, for the test's word.

Python loads this module by its name when it starts, where the folder is on PYTHONPATH. HELD_WORDS names words of paths.
The first file for each of them waits until another attempt has written the same one, or until the test writes `go`.
"""

import os
import time

folder = os.environ["HELD_FOLDER"]
words = os.environ["HELD_WORDS"].split(",")
replace = os.replace


def replace_later(source, target, **keywords):
    for word in words:
        if word in str(target):
            note = os.path.join(folder, word.strip("/-"))
            try:
                os.close(os.open(note, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                continue
            while not os.path.exists(target) and not os.path.exists(os.path.join(folder, "go")):
                time.sleep(0.01)
            try:
                replace(source, target, **keywords)
            finally:
                os.rename(note, f"{note}.done")
            return
    replace(source, target, **keywords)


os.replace = replace_later
