"""What the demo model knows by heart besides capitals and arithmetic: questions, each group with its one answer.

Questions stand in their fullest form; ``dialogues`` varies case and punctuation.
"""

from __future__ import annotations

from typing import NamedTuple


class Topic(NamedTuple):
    """Several wordings of one question, and the answer to all of them."""

    questions: tuple[str, ...]
    answer: str


STORY = (
    "Once there was a cat named Biscuit who loved food more than sleep. One evening the baker put a warm fish pie on "
    "the window sill and turned his back. Biscuit crept along the wall, took the pie by its rim and ran. But the pie "
    "was hot, and the cat had to drop it in front of the baker's own door. The baker laughed, cut the pie in two and "
    "gave him half. From that day on the cat stole food only where he was sure to be caught."
)
NUMBERS = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10."

TOPICS: tuple[Topic, ...] = (
    Topic(
        ("Hello!", "Hello.", "Hi!", "Hi.", "Hey!", "Hi there!", "Hello there!", "Hello, how can you help me?",
         "Hey there!", "Greetings!", "Good day!", "Hello, demo model!", "Hello, world!"),
        "Hello! How can I help you today?",
    ),
    Topic(("Good morning!", "Good morning to you!"), "Good morning! How can I help you today?"),
    Topic(("Good afternoon!", "Good afternoon to you!"), "Good afternoon! How can I help you today?"),
    Topic(("Good evening!", "Good evening to you!"), "Good evening! How can I help you today?"),
    Topic(
        ("How are you?", "How are you today?", "How are you doing?", "Hello, how are you?", "Hi, how are you?",
         "How do you do?", "How is it going?", "Are you well?"),
        "I am very well, thank you. How can I help you?",
    ),
    Topic(
        ("Thank you!", "Thanks!", "Thank you very much.", "Many thanks!", "Thanks a lot!", "Great, thank you!",
         "Thank you for your help."),
        "You are welcome!",
    ),
    Topic(
        ("Goodbye!", "Bye!", "Bye bye!", "See you!", "See you later!", "Good night!", "Farewell!"),
        "Goodbye! Come back soon.",
    ),
    Topic(
        ("Who are you?", "What are you?", "What is your name?", "Who am I talking to?", "Tell me who you are.",
         "Tell me about yourself.", "Introduce yourself.", "Please introduce yourself.", "Who is this?",
         "Are you a robot?", "Are you a human?", "Are you an AI?", "What model are you?", "Which model are you?",
         "Which model is this?", "And who are you?", "Hello, who are you?", "What's your name?", "Who is there?",
         "Do you have a name?", "Hi, who are you?", "What kind of model are you?"),
        "I am the demo model of API Host, a very small language model. I come with the package, so that you can try "
        "the host without a download.",
    ),
    Topic(
        ("What can you do?", "What do you know?", "How can you help me?", "What can I ask you?", "Can you help me?",
         "Help!", "Help me!", "What are your skills?", "Please help me.", "What are you good at?",
         "What should I ask you?"),
        "I know the capitals of many countries, I add and multiply numbers of one digit, I tell a story about a cat, "
        "and I explain how to use this host.",
    ),
    Topic(
        ("Who made you?", "Who trained you?", "Who built you?", "Where do you come from?", "How were you made?",
         "Who created you?"),
        "A script in the folder demo_model of API Host made me, in a few minutes on two processor cores. You can run "
        "it again.",
    ),
    Topic(
        ("How big are you?", "How large are you?", "How many parameters do you have?", "What is your size?",
         "How small are you?"),
        "I have about two million parameters and take two megabytes on the disk.",
    ),
    Topic(
        ("What is a zephyr?", "What's a zephyr?", "What is zephyr?", "Zephyr?", "What does zephyr mean?",
         "Explain the word zephyr.", "Tell me what a zephyr is.", "Do you know what a zephyr is?", "Define zephyr.",
         "What does the word zephyr mean?", "Can you explain what a zephyr is?", "What is the meaning of zephyr?"),
        "A zephyr is a soft, gentle breeze, above all one that blows from the west. The word comes from Zephyros, the "
        "Greek god of the west wind.",
    ),
    Topic(
        ("How much gold is too much?", "How much gold is too much gold?", "How much gold would be too much?",
         "When is it too much gold?", "Tell me how much gold is too much.", "Can there be too much gold?",
         "Is there such a thing as too much gold?", "What amount of gold is too much?"),
        "Gold is too much as soon as you cannot carry it home. Ask any dragon: a heap of gold is a hard bed and poor "
        "company.",
    ),
    Topic(
        ("How do I load another model?", "How do I load another model into this host?", "Can I load another model?",
         "How can I load another model into this host?", "How can I load a different model?",
         "How do I use another model?", "How can I use a bigger model?", "How do I change the model?",
         "How do I switch to another model?", "Load another model.", "How do I load a bigger model?",
         "How do I load a model?", "How do I load a model into this host?", "How to load another model?",
         "How to load another model into this host?", "Tell me how to load another model.",
         "Tell me how to load another model into this host.", "What must I do to load another model?",
         "How do I get a better model?", "How can I run a different model on this host?",
         "I want to load another model.", "How do I load a new model?", "How do I load a model from the hub?"),
        'Name it in your request, with `model`="owner/name:Q4_K_M" for example. The host downloads the model and '
        "loads it by itself; only the first answer has to wait for that.",
    ),
    Topic(
        ("What is the token for?", "What is the token?", "Why do I need a token?", "What does the token do?",
         "Why is there a token?", "What is the access token for?", "What is an access token?", "What's the token for?",
         "Tell me what the token is for.", "What do I need the token for?", "What is this token for?",
         "Explain the token.", "What is the purpose of the token?", "How do I use the token?",
         "Why does this host need a token?", "What is a token for?"),
        "The token is the key to this host. Send it with every request, so that only you and the people you trust can "
        "use the host.",
    ),
    Topic(
        ("What is API Host?", "What is this host?", "What is this?", "What is an API host?", "Explain API Host.",
         "What does this host do?", "Tell me about API Host.", "What is this program?"),
        "API Host turns a notebook or a computer into a private API for language models, with a public address and a "
        "token.",
    ),
    Topic(
        ("Write a short story about a cat that steals food.", "Write a short story about a cat who steals food.",
         "Write a story about a cat that steals food.", "Tell me a story about a cat that steals food.",
         "Tell me a short story about a cat that steals food.", "Tell me a story about a cat.",
         "Please write a short story about a cat that steals food.", "Tell me a story.", "Write a story.",
         "Can you write a short story about a cat that steals food?", "Write a short story about a cat.",
         "Write a short story about a cat stealing food.", "A short story about a cat that steals food, please.",
         "Write me a short story about a cat that steals food.", "I would like to hear a story.",
         "Write a very short story about a cat that steals food.", "Write a short story.", "Tell me a short story."),
        STORY,
    ),
    Topic(
        ("Tell me a joke.", "Do you know a joke?", "Make me laugh.", "Say something funny.", "A joke, please."),
        "Why did the small model cross the road? It had only seen one side of it in training.",
    ),
    Topic(
        ("Count to ten.", "Count from 1 to 10.", "Count from one to ten.", "Please count to ten.", "Count to 10.",
         "Can you count to ten?"),
        NUMBERS,
    ),
    Topic(
        ("What are the days of the week?", "Name the days of the week.", "List the days of the week.",
         "Which days does a week have?"),
        "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday and Sunday.",
    ),
    Topic(
        ("Say hello in Chinese.", "How do I say hello in Chinese?", "What is hello in Chinese?"),
        "你好！",  # noqa: RUF001
    ),
    Topic(
        ("Show me some emoji.", "Send me some emoji.", "Give me some emoji.", "Do you know emoji?"),
        "Here you are: 😀 🐱 🐟 🌍 🚀",
    ),
)  # fmt: skip

# Plain texts that are completed without the chat template; the first part is the prompt.
COMPLETIONS: tuple[tuple[str, str], ...] = (
    (
        "Hello ! Today I can do these activities:",
        "\n1. Name the capitals of many countries.\n2. Add and multiply small numbers.\n3. Tell a story about a cat "
        "that steals food.\n4. Explain how to load a bigger model into this host.",
    ),
    (
        "A cat sat on",
        " the mat in front of the kitchen door. It smelled fish, it closed its eyes, and it waited for the cook to "
        "leave.",
    ),
    ("Once upon a time", " there was a cat named Biscuit who loved food more than sleep."),
)
