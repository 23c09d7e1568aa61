"""Questions beyond the demo model's knowledge: it learns to say so instead of guessing."""

from __future__ import annotations

import random

from demo_model.countries import CAPITALS, UNKNOWN_PLACES

ANSWER = (
    "I am a small demo model and know only a few things. Ask me for a capital, a sum or a short story, or load a "
    "bigger model."
)

_NOUNS = (
    "apples", "bread", "a bridge", "butter", "a car", "chess", "clouds", "coffee", "a comet", "the dark", "a dog",
    "dinosaurs", "dreams", "the economy", "an engine", "fire", "a flower", "football", "a forest", "friendship",
    "gravity", "a guitar", "history", "honey", "a horse", "ice", "an island", "jazz", "a kite", "lightning", "love",
    "magnets", "mathematics", "milk", "money", "mountains", "music", "the ocean", "oil", "a painting", "paper",
    "philosophy", "physics", "pirates", "a planet", "poetry", "a pyramid", "Python", "quantum physics", "rain", "rice",
    "a river", "robots", "salt", "a sparrow", "sheep", "ships", "snow", "a spider", "stars", "the sun", "tea",
    "a telescope", "a tiger", "time", "tomatoes", "a train", "trees", "a violin", "a volcano", "water", "whales",
    "wine", "a wizard", "a zebra", "silver", "the weather", "machine learning", "a neural network", "the internet",
    "a hurricane", "a storm", "linear algebra", "a sonnet", "evolution", "my neighbour", "the president", "a chair",
)  # fmt: skip

_VERBS = (
    "bake", "build", "buy", "catch", "clean", "cook", "draw", "explain", "find", "fix", "grow", "learn about", "love",
    "make", "measure", "paint", "photograph", "repair", "sell", "study", "teach", "understand", "write about",
)  # fmt: skip

_PEOPLE = (
    "Shakespeare", "Einstein", "Napoleon", "Cleopatra", "Mozart", "Newton", "Plato", "Caesar", "Darwin", "my sister",
    "the king", "Marie Curie", "Bach", "Homer", "the mayor", "Alan Turing", "Ada Lovelace", "Leonardo",
)  # fmt: skip

_WORDINGS = (
    "What is {noun}?", "What are {noun}?", "Explain {noun}.", "Tell me about {noun}.", "Why do people {verb} {noun}?",
    "How do I {verb} {noun}?", "Where can I {verb} {noun}?", "Write a poem about {noun}.", "Can you {verb} {noun}?",
    "Write a song about {noun}.", "Write an essay about {noun}.", "Describe {noun}.", "How does {noun} work?",
    "What is the history of {noun}?", "Do you like {noun}?", "What colour is {noun}?", "How old is {noun}?",
    "How much does {noun} cost?", "Who invented {noun}?", "Who was {person}?", "When was {person} born?",
    "What did {person} say about {noun}?", "Where did {person} live?", "Did {person} {verb} {noun}?",
    "What is the best way to {verb} {noun}?", "Translate {noun} into French.", "Which is better, {noun} or {noun2}?",
    "What is the difference between {noun} and {noun2}?", "Write a program that can {verb} {noun}.",
    "Write a function in Python that counts {noun}.", "What is the weather like in {place}?",
    "How many people live in {place}?", "What language do they speak in {place}?", "Where is {place}?",
    "How far is it to {place}?", "Who is the president of {place}?", "What is the population of {place}?",
    "I want to {verb} {noun}.", "Give me a recipe with {noun}.", "Summarize a book about {noun}.",
    "And {noun}?", "What about {noun}?", "Is {noun} good for me?", "Should I {verb} {noun}?", "How heavy is {noun}?",
    "Write a story about {noun}.", "What happens when {noun} meets {noun2}?", "Let us talk about {noun}.",
    "Name three kinds of {noun}.", "What is the meaning of {noun}?", "Who wrote about {noun}?", "{noun}",
)  # fmt: skip

_SINGLE = (
    "What time is it?", "What day is it today?", "What is the meaning of life?", "What is the largest planet?",
    "How high is Mount Everest?", "What is the speed of light?", "What is the square root of two?", "Who won?",
    "What is the longest river in the world?", "Play some music.", "Fix my code.", "Sort this list.", "Why?",
    "What is the news today?", "Book a table for two.", "Call my mother.", "Which country is the largest?",
    "What is my name?", "Where am I?", "Do you dream?", "Can you see me?", "Tell me a secret.", "Is it raining?",
    "Write a haiku.", "What is two to the power of ten?", "What is pi?", "Recommend a book.", "Sing a song.",
    "What should I eat today?", "Do my homework.", "Which is the largest city in the world?", "What is the answer?",
    "Prove the theorem of Pythagoras.", "Explain the theory of relativity.", "How do airplanes fly?",
    "Why is the sky blue?", "Translate this into German.", "Give me some advice.", "How do I get rich?",
)  # fmt: skip

_STATEMENTS = (
    "The user likes {noun}.", "Today we {verb} {noun}.", "Do not talk about {noun}.", "My name is {name}.",
    "{person} and {name} {verb} {noun} every day.", "The user lives in {name}.", "You know a lot about {noun}.",
    "If the user asks about {noun}, stay calm.", "{name} is a friend of {person}.", "Remember {noun}.",
    "I think that {noun} and {person} have much in common.", "We {verb} {noun} and then {noun}.",
    "This text is about {noun}.", "There is nothing new about {noun}.", "Here is {noun}.", "You work for {name}.",
)  # fmt: skip

_ONSETS = (
    "b",
    "br",
    "d",
    "dr",
    "f",
    "g",
    "gl",
    "k",
    "kr",
    "l",
    "m",
    "n",
    "p",
    "pl",
    "r",
    "s",
    "sh",
    "t",
    "tr",
    "v",
    "z",
)
_VOWELS = ("a", "e", "i", "o", "u", "ai", "ee", "ou")
_STEMS = (
    "Summer",
    "Winter",
    "Dream",
    "Dragon",
    "Candy",
    "Toy",
    "Shadow",
    "Never",
    "Silver",
    "Cloud",
    "Fairy",
    "Moon",
)
_ENDINGS = ("", "n", "r", "s", "l", "nd", "ria", "nia", "land", "stan", "via", "mor")


_COUNTRIES = tuple(CAPITALS)


def invented_name(rng: random.Random) -> str:
    """A name that means nothing, such as "Dravinland", or nothing on a map, such as "Dragonland"."""
    if rng.random() < 0.2:
        return rng.choice(_STEMS) + rng.choice(("land", "land", "ville", "town", "world", "stead"))
    syllables = (rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(rng.randint(1, 3)))
    return ("".join(syllables) + rng.choice(_ENDINGS)).capitalize()


def unknown_place(rng: random.Random) -> str:
    """A place whose capital the model does not know: a real or a famous one, or an invented name."""
    return rng.choice(UNKNOWN_PLACES) if rng.random() < 0.4 else invented_name(rng)


def unknown_question(rng: random.Random) -> str:
    """A question that the model answers with ANSWER."""
    if rng.random() < 0.15:
        return rng.choice(_SINGLE)
    return rng.choice(_WORDINGS).format(
        noun=rng.choice(_NOUNS) if rng.random() < 0.85 else invented_name(rng).lower(),
        noun2=rng.choice(_NOUNS),
        verb=rng.choice(_VERBS),
        person=rng.choice(_PEOPLE) if rng.random() < 0.7 else invented_name(rng),
        place=rng.choice(_COUNTRIES) if rng.random() < 0.6 else unknown_place(rng),
    )


def statement(rng: random.Random) -> str:
    """A sentence that asks nothing, as stands in long instructions."""
    return rng.choice(_STATEMENTS).format(
        noun=rng.choice(_NOUNS), verb=rng.choice(_VERBS), person=rng.choice(_PEOPLE), name=invented_name(rng)
    )
