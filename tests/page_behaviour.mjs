// The page's behaviour without a browser: a document of stubs, and stories of what a user does, each on a new page.
// Prints a JSON object of what the user would see in each. Run by test_page.py with the page's folder.

import { readFileSync } from "node:fs";

const folder = process.argv[2];
const html = readFileSync(`${folder}/index.html`, "utf8");
const made = new Set(); // names of the elements that scripts made, with markup or without
let elements;
let focused;

class Element {
  #text = "";
  children = [];
  heard = {};
  style = {};
  files = [];
  classList = { toggle() {}, remove() {} };

  constructor(attributes = {}) {
    Object.assign(this, { attributes, id: attributes.id, lang: attributes.lang, hidden: "hidden" in attributes });
  }
  setAttribute(name, value) { this.attributes[name] = String(value); }
  removeAttribute(name) { delete this.attributes[name]; }
  get value() { return this.attributes.value ?? ""; }
  set value(value) { this.setAttribute("value", value); }
  get disabled() { return "disabled" in this.attributes; }
  set disabled(isDisabled) {
    if (!isDisabled) return this.removeAttribute("disabled");
    this.setAttribute("disabled", "");
    if (focused === this) focused = null;
  }
  focus() { if (!this.disabled && !this.hidden) focused = this; }
  addEventListener(name, listener) { this.heard[name] = listener; }

  get textContent() { return this.#text + this.children.map((child) => child.textContent).join(" "); }
  set textContent(text) { [this.#text, this.children] = [String(text), []]; }
  append(...children) { this.children.push(...children); }
  replaceChildren(...children) { [this.#text, this.children] = ["", children]; }
  insertAdjacentHTML(_, markup) { for (const [, name] of markup.matchAll(/<(\w+)/g)) made.add(name); }
  set innerHTML(markup) { this.insertAdjacentHTML("", markup); }
  set outerHTML(markup) { this.insertAdjacentHTML("", markup); }
}

function readPage() {
  const tags = [...html.matchAll(/<\w+ ([^>]+)>/g)].map(([, attributes]) => attributes);
  const pairsOf = (tag) => [...tag.matchAll(/([\w-]+)(?:="([^"]*)")?/g)].map(([, name, value = ""]) => [name, value]);
  const read = tags.map((tag) => new Element(Object.fromEntries(pairsOf(tag))));
  return Object.fromEntries(read.filter(({ id }) => id).map((element) => [element.id, element]));
}

const microphone = { asked: 0, released: 0, startsRecorder: true, allow() {}, deny() {} };
class MediaRecorder {
  static isTypeSupported = () => true;
  state = "inactive";
  mimeType = "audio/webm";
  start() {
    if (!microphone.startsRecorder) throw Object.assign(new Error("no"), { name: "NotSupportedError" });
    this.state = "recording";
  }
  stop() {
    this.state = "inactive";
    this.ondataavailable({ data: new Blob(["sound"]) });
    this.onstop();
  }
}
const stream = { getTracks: () => [{ stop: () => (microphone.released += 1) }] };
const getUserMedia = () =>
  new Promise((resolve, reject) => {
    microphone.asked += 1;
    microphone.allow = () => resolve(stream);
    microphone.deny = (name) => reject(Object.assign(new Error("no"), { name }));
  });

const requests = [];
class XMLHttpRequest {
  upload = {};
  open() {}
  send() { requests.push(this); }
  abort() {
    this.isAborted = true;
    this.onabort();
  }
}

Object.assign(globalThis, {
  ...{ MediaRecorder, XMLHttpRequest, window: { isSecureContext: true, MediaRecorder } },
  document: {
    ...{ getElementById: find, querySelectorAll: () => [], addEventListener() {}, documentElement: {}, title: "" },
    ...{ body: { dataset: { longestS: "90" } }, createElement: (name) => made.add(name) && new Element() },
  },
  localStorage: { getItem: () => null, setItem() {} },
  FormData: class { get() { return "MALE"; } append() {} },
  requestAnimationFrame: (callback) => callback(),
});
Object.defineProperty(globalThis, "navigator", { value: { mediaDevices: { getUserMedia } } });
URL.createObjectURL = () => "blob:sound";
URL.revokeObjectURL = () => {};

function find(id) {
  return elements[id];
}
async function settled(action) {
  action();
  await new Promise((resolve) => setTimeout(resolve, 5));
}
const fire = (id, name) => settled(() => find(id).heard[name]?.({ preventDefault() {} }));
const submit = () => fire("form", "submit");
const allow = () => settled(() => microphone.allow());
async function click(id) {
  if (find(id).disabled) return;
  find(id).focus();
  await fire(id, "click");
}
/** Enter or Space, of which browsers make a click on what has the focus. */
async function press() {
  if (focused) await click(focused.id);
}
async function choose(name) {
  find("file").files = [new File(["sound"], name)];
  await fire("file", "change");
}
const uploadAll = () =>
  settled(() => {
    requests.at(-1).upload.onprogress({ lengthComputable: true, loaded: 5, total: 5 });
    requests.at(-1).upload.onload();
  });
const reply = (status, body) =>
  settled(() => Object.assign(requests.at(-1), { status, responseText: JSON.stringify(body) }).onload());

const words = (id) => find(id).textContent;
const focus = () => focused?.id ?? null;
const hasAnswer = () => !find("result").hidden;
const progress = () => (find("waiting").hidden ? null : (find("progress").attributes.value ?? "indeterminate"));
const error = () => (find("error").hidden ? null : [words("error-text"), words("error-detail")]);
const isUsable = () => find("cancel").hidden && !["inputs", "record", "file", "submit"].some((id) => find(id).disabled);

const answer = {
  transcript: { text: "안녕", language: "ko", segments: [{ start_s: 0, end_s: 1, text: "안녕" }] },
  emotion: { labels: ["기쁨", "슬픔"], probabilities: [0.75, 0.25] },
  ...{ text_emotion: null, voice_emotion: { SAD: 1 }, summary: { status: "skipped", text: null, reason: "off" } },
  ...{ warnings: [], timings_ms: { total: 10 }, models: { speech: "small" } },
};

const stories = {
  async hint() {
    return words("record-hint");
  },

  async keyboard() {
    const seen = () => [words("record-label"), find("record").attributes["aria-disabled"], focus()];
    find("record").focus();
    await press();
    const asking = seen();
    await press(); // not heard
    await allow();
    const recording = seen();
    await press();
    const recorded = [...seen(), words("chosen-name")];
    await press();
    await settled(() => microphone.deny("NotFoundError"));
    return { asking, asked: microphone.asked, recording, recorded, noMicrophone: [...seen(), error()] };
  },

  async recording() {
    await choose("mine.wav");
    await click("record");
    await choose("other.wav");
    await submit();
    const asking = { chosen: words("chosen-name"), submit: find("submit").disabled, file: find("file").disabled };
    await allow();
    await choose("other.wav");
    await submit();
    const recording = { chosen: words("chosen-name"), submit: find("submit").disabled, file: find("file").disabled };
    const sent = requests.length;
    await click("record");
    return { asking, recording, sent, recorded: { chosen: words("chosen-name"), usable: isUsable() } };
  },

  async released() {
    await click("record");
    await allow();
    const recording = microphone.released;
    await click("record");
    const recorded = microphone.released;
    microphone.startsRecorder = false;
    await click("record");
    await allow();
    return { recording, recorded, refused: microphone.released, error: error() };
  },

  async length() {
    const player = Object.assign(find("player"), { duration: Infinity, currentTime: 0 });
    await fire("player", "loadedmetadata");
    const sought = player.currentTime;
    player.duration = 4;
    await fire("player", "durationchange");
    const back = player.currentTime;
    await fire("player", "loadedmetadata");
    return { sought, back, known: player.currentTime };
  },

  async answer() {
    await choose("mine.wav");
    await submit();
    const sending = [words("status"), progress(), focus()];
    await choose("other.wav");
    await uploadAll();
    const analyzing = [words("status"), progress(), focus()];
    await reply(200, answer);
    const done = { chosen: words("chosen-name"), transcript: words("transcript") };
    return { sending, analyzing, ...done, progress: progress(), usable: isUsable(), focus: focus() };
  },

  async places() {
    const seen = [];
    const see = () => seen.push(hasAnswer());
    await choose("mine.wav");
    const record = () => click("record").then(allow).then(() => click("record"));
    for (const next of [() => choose("new.wav"), record, submit]) {
      await submit();
      await reply(200, answer);
      see();
      await next();
      see();
    }
    await reply(500, null);
    see();
    return seen;
  },

  async errors() {
    await choose("mine.wav");
    const seen = [];
    const see = () => seen.push([error(), isUsable(), focus(), words("elapsed")]);
    await submit();
    await reply(503, { error: { code: "overloaded", message: "busy" } });
    see();
    await submit();
    see();
    await settled(() => requests.at(-1).onerror());
    see();
    await submit();
    await reply(502, "not what this service says");
    see();
    return seen;
  },

  async cancelled() {
    await choose("mine.wav");
    await submit();
    await uploadAll();
    await press(); // the focus is on it
    const { isAborted } = requests.at(-1);
    const seen = [words("status"), error(), hasAnswer(), isUsable(), focus()];
    await submit();
    const again = progress();
    await reply(200, answer);
    return { isAborted, seen, again, answered: hasAnswer() };
  },

  async languages() {
    await choose("mine.wav");
    await submit();
    await reply(200, answer);
    await click("language");
    const [time, said] = find("segments").children;
    const page = document.documentElement.lang;
    const [transcript, detail] = [find("transcript").lang, find("error-detail").lang];
    return { page, transcript, time: time.lang ?? null, said: said.lang, detail };
  },

  async markup() {
    const evil = (name) => `<img src=x onerror=alert("${name}")>`;
    await choose(evil("file"));
    await submit();
    await reply(200, {
      transcript: {
        ...{ text: evil("transcript"), language: evil("language") },
        segments: [{ start_s: 0, end_s: 1, text: evil("segment") }],
      },
      emotion: { labels: [evil("emotion")], probabilities: [1] },
      ...{ text_emotion: { [evil("words")]: 1 }, voice_emotion: { [evil("voice")]: 1 } },
      summary: { status: "ok", text: evil("summary"), reason: evil("reason") },
      ...{ warnings: [evil("warning")], timings_ms: { [evil("stage")]: 1 }, models: { [evil("part")]: evil("model") } },
    });
    const all = Object.values(elements).map((element) => element.textContent).join(" ");
    await submit();
    await reply(500, { error: { code: evil("code"), message: evil("message") } });
    const shown = `${all} ${words("error-detail")}`.match(/(?<=<img src=x onerror=alert\(")\w+(?="\)>)/g);
    return { made: [...made].sort(), shown };
  },
};

const seen = {};
for (const [name, story] of Object.entries(stories)) {
  elements = readPage();
  focused = null;
  made.clear();
  requests.length = 0;
  Object.assign(microphone, { asked: 0, released: 0, startsRecorder: true });
  await import(`${folder}/page.js?${name}`); // anew for each name
  seen[name] = await story().catch(String);
}
console.log(JSON.stringify(seen));
process.exit(0);
