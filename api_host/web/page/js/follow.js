// Keeps the newest text in sight while it grows, until the reader scrolls up; a button leads back. Knows no text.

const NEAR = 24;

export class Follow {
  #scroller;
  #button;
  #following = true;
  #last = 0;

  constructor(scroller, content, button) {
    this.#scroller = scroller;
    this.#button = button;
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    button.addEventListener("click", () => this.jump());
    const watch = new ResizeObserver(() => this.#keep());
    watch.observe(content);
    watch.observe(scroller);
  }

  /** To the end, and on with it. */
  jump() {
    this.#following = true;
    this.#keep();
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    const near = scrollHeight - scrollTop - clientHeight < NEAR;
    if (near) this.#following = true;
    else if (scrollTop < this.#last) this.#following = false;
    this.#last = scrollTop;
    this.#button.hidden = near || this.#following;
  }

  #keep() {
    if (this.#following) this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#last = this.#scroller.scrollTop;
    this.#button.hidden = this.#following;
  }
}
