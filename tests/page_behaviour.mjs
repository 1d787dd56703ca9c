// The page's behaviour without a browser: a document of stubs, and what a user does one after the other.
// Prints a JSON object of what the user would then see. Run by test_page.py with the page's folder.

const elements = {};
function find(id) {
  elements[id] ??= {
    ...{ id, hidden: false, disabled: false, textContent: "", value: "", files: [], src: "", dataset: {}, heard: {} },
    classList: { toggle() {}, remove() {} },
    addEventListener(name, listener) { this.heard[name] = listener; },
    ...{ focus() {}, removeAttribute() {}, setAttribute() {}, replaceChildren() {}, append() {} },
  };
  return elements[id];
}

let allow;
let refusesToStart = false;
let released = 0;
const stream = { getTracks: () => [{ stop: () => (released += 1) }] };
class MediaRecorder {
  static isTypeSupported = () => true;
  state = "inactive";
  mimeType = "audio/webm";
  start() {
    if (refusesToStart) throw Object.assign(new Error("no"), { name: "NotSupportedError" });
    this.state = "recording";
  }
  stop() {
    this.state = "inactive";
    this.ondataavailable({ data: new Blob(["sound"]) });
    this.onstop();
  }
}
Object.assign(globalThis, {
  MediaRecorder,
  document: {
    ...{ getElementById: find, querySelectorAll: () => [], addEventListener() {}, documentElement: {}, title: "" },
    ...{ body: { dataset: { longestS: "90" } }, createElement: () => find(`made ${Math.random()}`) },
  },
  window: { isSecureContext: true, MediaRecorder },
  localStorage: { getItem: () => null, setItem() {} },
  FormData: class { get() { return "MALE"; } append() {} },
  XMLHttpRequest: class { upload = {}; open() {} send() { sent += 1; } abort() { this.onabort(); } },
});
const media = { getUserMedia: () => new Promise((resolve) => (allow = () => resolve(stream))) };
Object.defineProperty(globalThis, "navigator", { value: { mediaDevices: media } });
URL.createObjectURL = () => "blob:sound";
URL.revokeObjectURL = () => {};
let sent = 0;

await import(`${process.argv[2]}/page.js`);
const settle = () => new Promise((resolve) => setTimeout(resolve, 5));
async function press(id, name = "click") {
  find(id).heard[name]({ preventDefault() {} });
  await settle();
}
async function choose(name) {
  find("file").files = [new File(["sound"], name)];
  await press("file", "change");
}

const seen = { hint: find("record-hint").textContent };
await choose("mine.wav");
await press("record"); // the browser asks for the microphone
seen.whileAsked = { submit: find("submit").disabled, file: find("file").disabled, record: find("record").disabled };
await press("form", "submit");
seen.sentWhileAsked = sent;
allow();
await settle();
await choose("other.wav");
seen.whileRecording = { chosen: find("chosen-name").textContent, record: find("record").disabled };
await press("record");
seen.recorded = { chosen: find("chosen-name").textContent, submit: find("submit").disabled, released };
refusesToStart = true;
await press("record");
allow();
await settle();
seen.refused = { released, record: find("record").disabled, error: find("error").hidden };
console.log(JSON.stringify(seen));
process.exit(0);
