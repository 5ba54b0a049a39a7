"""What JSON has to look like to be an answer, and how it looks when it says that something failed.
Pure, and nobody's protocol but that of what is read.

``json_texts`` reads JSON that may be none, ``numbers`` those in it, ``error_words`` what an error
says, ``complaints`` whether JSON is one or holds one, ``task_answers`` whether it has the shape of
a task's answer.
"""
