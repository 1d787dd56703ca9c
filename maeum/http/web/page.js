// The page's behaviour: choose or record, send, show.

import { canRecord, startRecording } from "./recorder.js";
import { clock, showResult } from "./result.js";
import { getLanguage, setLanguage, text } from "./texts.js";
import { analyze } from "./upload.js";

const find = (id) => document.getElementById(id);
const state = {
  file: null,
  isRecorded: false,
  asking: false, // for the microphone
  recording: null,
  answer: null,
  error: null,
  status: "",
  abort: null,
};
const longestS = Math.floor(Number(document.body.dataset.longestS)); // that the service takes

/** A length in words. */
function inWords(seconds) {
  const parts = { inMinutes: Math.floor(seconds / 60), inSeconds: seconds % 60 };
  const said = Object.entries(parts).filter(([, count]) => count);
  return said.map(([unit, count]) => text(unit).replace("{n}", count)).join(" ");
}

function isBusy() {
  return Boolean(state.asking || state.recording || state.abort);
}

function remember(key, value) {
  try {
    localStorage.setItem(`maeum.${key}`, value);
  } catch {
    // Private windows may refuse; the choice then lasts as long as the page.
  }
}

function recall(key) {
  try {
    return localStorage.getItem(`maeum.${key}`);
  } catch {
    return null;
  }
}

/** Write everything that depends on the language or the state. */
function render() {
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = text(node.dataset.text);
  document.title = text("title");
  find("language").textContent = text("otherLanguage");
  find("language").lang = getLanguage() === "ko" ? "en" : "ko";
  find("record-label").textContent = text(state.recording ? "stop" : "record");
  find("record").classList.toggle("recording", Boolean(state.recording));
  find("record-time").hidden = !state.recording;
  find("record").setAttribute("aria-disabled", state.asking); // what is disabled loses the focus
  find("record-hint").textContent = text("recordHint").replace("{time}", inWords(longestS));
  if (!canRecord()) {
    find("record").disabled = true;
    find("record-hint").textContent = text("microphone", "insecure");
  }
  find("chosen").hidden = !state.file;
  if (state.file) {
    find("chosen-name").textContent = state.isRecorded ? text("recorded") : state.file.name;
    find("chosen-size").textContent = `${(state.file.size / 1e6).toFixed(2)} MB`;
  }
  find("inputs").disabled = Boolean(state.abort);
  find("file").disabled = isBusy();
  find("submit").disabled = !state.file || isBusy();
  find("cancel").hidden = find("waiting").hidden = !state.abort;
  find("status").textContent = state.status && text(state.status);
  find("error").hidden = !state.error;
  if (state.error) {
    find("error-text").textContent = text(state.error.group, state.error.code);
    find("error-detail").textContent = state.error.message ? `${state.error.code}: ${state.error.message}` : "";
  }
  if (state.answer) showResult(state.answer);
  else find("result").hidden = true;
}

function update(changes) {
  Object.assign(state, changes);
  render();
}

function take(file, isRecorded) {
  URL.revokeObjectURL(find("player").src);
  find("player").src = URL.createObjectURL(file);
  update({ file, isRecorded, error: null, answer: null, status: "ready" });
}

/** Find out the length of a recording, which browsers do not write into it: only who seeks its end is told. */
function measure() {
  const player = find("player");
  if (player.duration !== Infinity) return;
  player.addEventListener("durationchange", () => (player.currentTime = 0), { once: true });
  player.currentTime = 1e9;
}

async function toggleRecording() {
  if (state.asking) return;
  if (state.recording) {
    state.recording.stop();
    return;
  }
  update({ asking: true });
  try {
    const onTime = (seconds) => (find("record-time").textContent = clock(seconds));
    const recording = await startRecording(longestS - 1, onTime); // the last part of a recording comes late
    find("record-time").textContent = clock(0);
    update({ asking: false, recording, error: null, status: "recording" });
    const file = await recording.file;
    state.recording = null;
    take(file, true);
  } catch (error) {
    const why = { group: "microphone", code: error.name, message: "" };
    update({ asking: false, recording: null, status: "", error: why });
  }
}

async function submit(event) {
  event.preventDefault();
  if (!state.file || isBusy()) return;
  const gender = new FormData(find("form")).get("gender");
  const fields = { gender, lang: "ko", file: state.file };
  find("progress").value = 0;
  update({ abort: new AbortController(), error: null, answer: null, status: "sending" });
  find("cancel").focus();

  const started = performance.now();
  const ticking = setInterval(() => (find("elapsed").textContent = clock((performance.now() - started) / 1000)), 250);
  const onSent = (share) => {
    if (state.status === "analyzing") return; // the end of an upload is told twice
    find("progress").value = share;
    if (share < 1) return;
    find("progress").removeAttribute("value"); // from here on nobody knows how long it takes
    update({ status: "analyzing" });
  };
  try {
    const answer = await analyze(fields, onSent, state.abort.signal);
    update({ abort: null, answer, status: "done" });
    find("result-title").focus();
  } catch (error) {
    const cancelled = error.code === "cancelled";
    update({
      abort: null,
      status: cancelled ? "cancelled" : "",
      error: cancelled ? null : { group: "errors", code: error.code ?? "other", message: error.message },
    });
    find("submit").focus();
  } finally {
    clearInterval(ticking);
    find("elapsed").textContent = "";
  }
}

function watchDrops() {
  const allowed = (event) => !isBusy() && event.dataTransfer.types.includes("Files");
  // On the whole page: a file dropped beside the field would otherwise replace the page.
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    find("drop").classList.toggle("over", allowed(event));
  });
  document.addEventListener("dragleave", () => find("drop").classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    find("drop").classList.remove("over");
    const [file] = event.dataTransfer.files;
    if (file && allowed(event)) take(file, false);
  });
}

find("form").addEventListener("submit", submit);
find("record").addEventListener("click", toggleRecording);
find("player").addEventListener("loadedmetadata", measure);
find("cancel").addEventListener("click", () => state.abort?.abort());
find("file").addEventListener("change", () => {
  const [file] = find("file").files;
  find("file").value = ""; // so that choosing the same file again counts as a change
  if (file && !isBusy()) take(file, false);
});
find("gender").addEventListener("change", (event) => remember("gender", event.target.value));
find("language").addEventListener("click", () => {
  setLanguage(getLanguage() === "ko" ? "en" : "ko");
  remember("language", getLanguage());
  render();
});
watchDrops();

const gender = recall("gender");
for (const choice of document.querySelectorAll("[name=gender]")) choice.checked = choice.value === (gender ?? "MALE");
setLanguage(recall("language") ?? "ko");
render();
