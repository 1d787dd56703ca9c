// The answer of the service on the page. Whatever the service sends becomes text nodes, never markup.

import { getLanguage, text } from "./texts.js";

const find = (id) => document.getElementById(id);

/** Show an answer of `POST /v1/analyze`. */
export function showResult(answer) {
  const { transcript, emotion, text_emotion: words, voice_emotion: voice, summary, warnings } = answer;
  fill("warnings", warnings.map((code) => element("li", text("warnings", code))));

  find("summary").hidden = summary.status !== "ok";
  find("summary").textContent = summary.text ?? "";
  find("summary").lang = "ko";
  find("no-summary").hidden = summary.status === "ok";
  find("no-summary").textContent = `${text("noSummary")}: ${text("reasons", summary.reason ?? summary.status)}`;

  find("transcript").textContent = transcript.text || text("nothingSaid");
  find("transcript").lang = transcript.text ? transcript.language : getLanguage();
  find("transcript").classList.toggle("none", !transcript.text);

  fill("emotions", bars(emotion.labels.map((label, index) => [label, emotion.probabilities[index]])));
  fill("voice", bars(Object.entries(voice)));
  fill("words", words ? bars(Object.entries(words)) : [element("li", text("noWords"), "message")]);

  fill(
    "segments",
    transcript.segments.flatMap((one) => {
      const [time, said] = pair(`${clock(one.start_s)}–${clock(one.end_s)}`, one.text);
      said.lang = transcript.language;
      return [time, said];
    }),
  );
  fill(
    "timings",
    Object.entries(answer.timings_ms).flatMap(([stage, ms]) =>
      pair(text("stages", stage), `${(ms / 1000).toFixed(2)} ${text("seconds")}`),
    ),
  );
  fill("models", Object.entries(answer.models).flatMap(([stage, name]) => pair(text("stages", stage), name ?? text("none"))));
  find("result").hidden = false;
}

/** Seconds as minutes and seconds. */
export function clock(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

function bars(entries) {
  const most = Math.max(...entries.map(([, probability]) => probability));
  return entries.map(([label, probability]) => {
    const item = element("li");
    const isTop = probability === most;
    item.classList.toggle("top", isTop);
    const bar = element("span", "", "bar");
    bar.setAttribute("aria-hidden", "true");
    const fillOfBar = element("span", "", "fill");
    bar.append(fillOfBar);
    item.append(element("span", text("labels", label), "label"), bar, element("span", percent(probability), "value"));
    if (isTop) item.append(element("span", text("strongest"), "unseen"));
    // One frame later, so that the bar grows.
    requestAnimationFrame(() => (fillOfBar.style.width = `${100 * probability}%`));
    return item;
  });
}

function pair(term, description) {
  return [element("dt", term), element("dd", description)];
}

function percent(probability) {
  return `${(100 * probability).toFixed(1)}%`;
}

function element(name, content = "", className = "") {
  const created = document.createElement(name);
  created.textContent = content;
  if (className) created.className = className;
  return created;
}

function fill(id, children) {
  find(id).replaceChildren(...children);
}
