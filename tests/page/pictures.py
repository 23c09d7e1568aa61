"""Makes docs/pictures/page.png, the picture of the page in the README: ``python -m tests.page.pictures``.

The answer, its figures and the GPU in it are a script's, so that the picture is the same each time and shows what the
page can show; nothing of it is a measurement. Everything else is the page as it is served.
"""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from api_host.generation import Accepted, Chunk, Finished, GenerationRequest, Timings, Usage
from api_host.gpus import Gpu, Gpus
from tests.fakes.pipeline import Step
from tests.page.browser import a_context, launched
from tests.page.chat import Chat
from tests.page.scripted import LOADED, ScriptedSite

PICTURE = Path(__file__).parents[2] / "docs" / "pictures" / "page.png"
MODEL = "bartowski/Qwen2.5-7B-Instruct-GGUF:Q4_K_M"
EARLIER = ("Names for a cat", "Why is the sky blue?", "Regex for ISO dates")
QUESTION = "How do I find the longest words of a text in Python?"
ANSWER = """`heapq.nlargest` finds them without sorting everything:

```python
import heapq
import re

def longest_words(text: str, n: int = 5) -> list[str]:
    words = set(re.findall(r"\\w+", text))
    return heapq.nlargest(n, words, key=len)

print(longest_words(open("moby-dick.txt").read()))
```

- `set` counts each word **once**
- for *k* of *n* words it takes about *n* log *k* steps
"""
T4 = Gpu(0, "Tesla T4", "550.54", load=87.0, memoryUsed=6912.0, memoryFree=8448.0, memoryTotal=15360.0)


class Showcase(ScriptedSite):
    """A site with a model that everybody knows, on a GPU that notebooks have."""

    def reset(self) -> None:
        super().reset()
        facts = {"name": MODEL, "size": 4_683_074_240, "n_ctx": 8192, "device": "Tesla T4"}
        self.pipeline.default_model = MODEL
        self.pipeline.known = [{**LOADED, **facts}]
        self.pipeline.script = answered


def answered(request: GenerationRequest | None) -> list[Step]:
    """The answer, at the speed of a T4."""
    end = Finished(Usage(prompt_tokens=412, completion_tokens=131), Timings(0.0, 0.2, 131 / 41.7))
    return [Accepted(MODEL, 412), Chunk(ANSWER), Chunk("", finish_reason="stop"), end]


def take(path: Path) -> None:
    """Writes the picture, 1280x800 and light."""
    Gpus.read = lambda self: [T4]  # type: ignore[method-assign]
    site = Showcase()
    with launched() as browser, a_context(browser) as context:
        chat = Chat(context.new_page(), site.url, site.token).open()
        for question in (*EARLIER, QUESTION):
            chat.button("New conversation").click()
            chat.ask(question)
        expect(chat.page.get_by_role("list", name="GPUs")).to_be_visible()
        expect(chat.answers.last.locator("pre span").first).to_be_visible()
        path.parent.mkdir(parents=True, exist_ok=True)
        chat.page.screenshot(path=path)
    site.close()


if __name__ == "__main__":
    take(PICTURE)
    print(PICTURE.relative_to(Path.cwd()) if PICTURE.is_relative_to(Path.cwd()) else PICTURE)
