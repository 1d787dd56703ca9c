// The microphone: one recording at a time, as the first format that the browser can write.

const FORMATS = [
  ["audio/webm;codecs=opus", "webm"],
  ["audio/mp4", "m4a"],
  ["audio/ogg;codecs=opus", "ogg"],
];
// Just under the ten minutes that the service takes by default.
const LONGEST_MS = 595_000;

export function canRecord() {
  return Boolean(window.isSecureContext && navigator.mediaDevices?.getUserMedia && window.MediaRecorder);
}

/**
 * Start recording.
 *
 * @param onTime called with the seconds so far.
 * @returns `stop()`, and `file`, a promise of the recording once it has stopped.
 */
export async function startRecording(onTime) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const [mimeType, extension] = FORMATS.find(([type]) => MediaRecorder.isTypeSupported(type)) ?? ["", "webm"];
  const recorder = new MediaRecorder(stream, mimeType ? { mimeType } : {});
  const parts = [];
  const started = performance.now();

  const stop = () => {
    if (recorder.state !== "inactive") recorder.stop();
  };
  const clock = setInterval(() => {
    const elapsed = performance.now() - started;
    onTime(elapsed / 1000);
    if (elapsed >= LONGEST_MS) stop();
  }, 250);

  const file = new Promise((resolve) => {
    recorder.ondataavailable = (event) => parts.push(event.data);
    recorder.onstop = () => {
      clearInterval(clock);
      stream.getTracks().forEach((track) => track.stop());
      resolve(new File(parts, `recording.${extension}`, { type: recorder.mimeType }));
    };
  });
  recorder.start(1000);
  return { stop, file };
}
