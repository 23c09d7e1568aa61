// The page: puts the parts together, and keeps the one conversation that is on the screen. What each part does is its own.

import { asked, forget } from "./access.js";
import { Answering } from "./answering.js";
import { Composer } from "./composer.js";
import * as conversations from "./conversations.js";
import { byId, el } from "./dom.js";
import { showFigures, showLive } from "./facts.js";
import { Follow } from "./follow.js";
import { watchGpus } from "./gpu.js";
import { ModelPicker } from "./model_picker.js";
import { Models } from "./models.js";
import { Settings } from "./settings.js";
import { Sidebar } from "./sidebar.js";
import { signIn } from "./sign_in.js";
import { SnippetDrawer } from "./snippet_drawer.js";
import { tab } from "./storage.js";
import { themeSwitch } from "./theme.js";
import { toast } from "./toast.js";
import { shortName, Transcript } from "./transcript.js";

const OPEN_KEY = "api-host.open";
const NO_ROOM = "This browser has no room left for conversations. Export and delete some.";

class Page {
  constructor(models) {
    this.models = models;
    this.conversation = conversations.begin();
    this.settings = new Settings((system) => this.changeSystem(system));
    this.picker = new ModelPicker(models, () => this.showModel());
    this.snippets = new SnippetDrawer();
    this.sidebar = new Sidebar({
      begin: () => this.open(conversations.begin(this.conversation.system)),
      renamed: (id, name) => this.rename(id, name),
      deleted: (conversation) => this.remove(conversation),
      exported: (form) => this.download(form),
      imported: (text) => this.take(text),
    });
    this.transcript = new Transcript(byId("transcript"), {
      edit: (turn, text) => this.replaceFrom(turn, { role: "user", content: text }),
      regenerate: () => this.replaceFrom(this.conversation.turns.at(-1)),
      choose: (turn, text) => this.choose(turn, text),
    });
    this.composer = new Composer(
      (text) => this.send(text),
      () => this.answering.stop(this.conversation),
    );
    this.follow = new Follow(byId("scroller"), byId("transcript"), byId("newest"));
    const request = () => ({ ...(models.chosen ? { model: models.chosen } : {}), ...this.settings.request() });
    this.answering = new Answering(
      request,
      (run) => this.answerGrew(run),
      (run, failure, kept) => this.answerEnded(run, failure, kept),
    );
  }

  /** Shows a conversation, and says so in the address. */
  open(conversation) {
    this.conversation = conversation;
    tab.setText(OPEN_KEY, conversation.id);
    const hash = conversation.turns.length ? `#c=${conversation.id}` : "";
    if (location.hash !== hash) history.pushState(null, "", location.pathname + location.search + hash);
    this.show();
    this.follow.jump();
    this.composer.focus();
  }

  show() {
    const run = this.answering.of(this.conversation);
    this.sidebar.show(this.conversation);
    this.transcript.show(this.conversation, run, this.welcome());
    this.composer.running = run !== undefined;
    this.showName();
    if (run) showLive(run);
    else this.showFigures();
  }

  showName() {
    const { name } = this.conversation;
    byId("title").textContent = name || "Chat";
    document.title = name ? `${name} · API Host` : "API Host";
  }

  welcome() {
    const words = this.models.current
      ? `${shortName(this.models.current)} answers on this host. What you write goes there and nowhere else.`
      : "No model is chosen yet. Choose one at the top left; any GGUF of the Hugging Face hub will do.";
    return el("div", { class: "welcome" }, el("h2", {}, "What would you like to know?"), el("p", {}, words));
  }

  showModel() {
    const { current } = this.models;
    byId("model-name").textContent = current ? shortName(current) : "Choose a model";
    byId("model-button").title = current ?? "No model is chosen";
    byId("model-dot").className = `dot ${this.models.find(current)?.status ?? ""}`;
    if (!this.conversation.turns.length) byId("transcript").replaceChildren(this.welcome());
    if (!this.answering.of(this.conversation)) this.showFigures();
  }

  showFigures() {
    showFigures(this.conversation, (name) => {
      const loaded = this.models.find(name)?.n_ctx;
      return loaded ? Math.min(loaded, this.settings.ctxLength ?? loaded) : null;
    });
  }

  send(text) {
    if (!this.models.current) {
      this.picker.open();
      return false;
    }
    this.conversation.turns.push({ role: "user", content: text });
    this.answer();
    return true;
  }

  answer() {
    const { conversation } = this;
    this.answering.start(conversation);
    this.open(conversation);
  }

  /** Drops a turn and what follows, puts another in its place, and has that answered. */
  replaceFrom(turn, other) {
    const { conversation } = this;
    const before = conversation.turns;
    const place = before.indexOf(turn);
    this.answering.abandon(conversation);
    const next = { ...conversation, turns: [...before.slice(0, place), ...(other ? [other] : [])] };
    this.conversation = next;
    this.answer();
    if (before.length - place > 2) {
      toast("The later turns are gone.", () => {
        this.answering.abandon(next);
        this.open({ ...next, turns: before });
        conversations.save(this.conversation);
      });
    }
  }

  answerGrew(run) {
    if (run.conversation !== this.conversation) return;
    this.transcript.update(run);
    showLive(run);
  }

  async answerEnded(run, failure, kept) {
    if (!kept) toast(NO_ROOM);
    if (failure?.code === "wrong_token") return location.reload(); // A restarted host: the page asks for its token.
    if (run.conversation === this.conversation) {
      this.transcript.end(run, failure);
      this.composer.running = false;
      this.showFigures();
      if (!failure) byId("announcer").textContent = "The assistant has answered.";
    }
    this.sidebar.show(this.conversation);
    try {
      await this.models.refresh();
      this.showModel();
    } catch {
      // The answer's own failure has been told; these are only its figures.
    }
  }

  choose(turn, text) {
    turn.content = text;
    conversations.save(this.conversation);
  }

  changeSystem(system) {
    this.conversation.system = system;
    if (this.conversation.turns.length) conversations.save(this.conversation);
  }

  rename(id, name) {
    const conversation = this.find(id);
    if (conversation) {
      conversation.name = name;
      conversations.save(conversation);
    }
    this.sidebar.show(this.conversation);
    this.showName();
  }

  remove(conversation) {
    this.answering.abandon(conversation);
    conversations.remove(conversation.id);
    this.open(conversations.begin(conversation.system));
    toast(`“${conversation.name}” is deleted.`, () => {
      conversations.save(conversation);
      this.open(conversation);
    });
  }

  download(form) {
    const { conversation } = this;
    const text = form === "json" ? conversations.asJson(conversation) : conversations.asMarkdown(conversation);
    const name = conversation.name.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 60) || "conversation";
    const type = form === "json" ? "application/json" : "text/markdown";
    const url = URL.createObjectURL(new Blob([text], { type }));
    el("a", { href: url, download: `${name}.${form}` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }

  take(text) {
    try {
      const conversation = conversations.fromJson(text);
      if (!conversations.save(conversation)) toast(NO_ROOM);
      this.sidebar.hide();
      this.open(conversation);
    } catch (error) {
      toast(error.message);
    }
  }

  /** The conversation of this id as it is now; null if there is none. */
  find(id) {
    if (id === this.conversation.id) return this.conversation;
    return this.answering.of({ id })?.conversation ?? conversations.find(id);
  }

  /** Follows the address: a link of the list, the browser's back button, a reload. */
  followAddress() {
    const id = /^#c=(\w+)/.exec(location.hash)?.[1];
    if (id && id === this.conversation.id) return;
    // What a dialog shows may belong to the conversation that is left.
    document.querySelector("dialog[open]")?.close();
    const found = id && this.find(id);
    // An address that leads nowhere goes, or the back button would come to it again and again.
    if (!found) history.replaceState(null, "", location.pathname + location.search);
    this.open(found || conversations.begin(this.conversation.system));
  }

  /** Another tab has changed what is kept: without its turns this one would write over them with its next. */
  changedElsewhere() {
    const kept = conversations.find(this.conversation.id);
    const writing = this.answering.of(this.conversation) || byId("transcript").querySelector(".editing");
    if (kept && !writing && kept.updated !== this.conversation.updated) {
      this.conversation = kept;
      this.show();
    } else this.sidebar.show(this.conversation);
  }

  begin() {
    const last = conversations.find(tab.text(OPEN_KEY));
    if (last && !location.hash) this.open(last);
    else this.followAddress();
    this.showModel();
    addEventListener("hashchange", () => this.followAddress());
    conversations.onChangeElsewhere(() => this.changedElsewhere());
    byId("model-button").addEventListener("click", () => this.picker.open());
    byId("settings-button").addEventListener("click", () => this.settings.open(this.conversation.system));
    byId("snippets-button").addEventListener("click", () => this.snippets.open(this.models.current));
    byId("skip").addEventListener("click", (event) => {
      event.preventDefault();
      this.composer.focus();
    });
    addEventListener("keydown", (event) => {
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
        event.preventDefault();
        if (!document.querySelector("dialog[open]")) this.picker.open();
      }
    });
  }
}

themeSwitch(byId("theme"));
const models = new Models(await signIn());
byId("app").hidden = false;
const signOut = byId("sign-out");
signOut.hidden = !asked;
signOut.addEventListener("click", () => {
  forget();
  location.assign(location.pathname);
});
new Page(models).begin();
watchGpus();
