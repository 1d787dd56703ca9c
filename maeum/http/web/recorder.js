// The microphone: one recording at a time, as the first format that the browser can write.

const FORMATS = [
  ["audio/webm;codecs=opus", "webm"],
  ["audio/mp4", "m4a"],
  ["audio/ogg;codecs=opus", "ogg"],
];

export function canRecord() {
  return Boolean(window.isSecureContext && navigator.mediaDevices?.getUserMedia && window.MediaRecorder);
}

/**
 * Start recording.
 *
 * @param longestS seconds after which it stops by itself.
 * @param onTime called with the seconds so far.
 * @returns `stop()`, and `file`, a promise of the recording once it has stopped.
 */
export async function startRecording(longestS, onTime) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  try {
    return record(stream, longestS, onTime);
  } catch (error) {
    release(stream); // a microphone that nobody listens to would stay on
    throw error;
  }
}

function release(stream) {
  stream.getTracks().forEach((track) => track.stop());
}

function record(stream, longestS, onTime) {
  const [mimeType, extension] = FORMATS.find(([type]) => MediaRecorder.isTypeSupported(type)) ?? ["", "webm"];
  const recorder = new MediaRecorder(stream, mimeType ? { mimeType } : {});
  const parts = [];
  const started = performance.now();

  const stop = () => {
    if (recorder.state !== "inactive") recorder.stop();
  };
  recorder.start(1000);
  const clock = setInterval(() => {
    const elapsed = (performance.now() - started) / 1000;
    onTime(elapsed);
    if (elapsed >= longestS) stop();
  }, 250);

  const file = new Promise((resolve) => {
    recorder.ondataavailable = (event) => parts.push(event.data);
    recorder.onstop = () => {
      clearInterval(clock);
      release(stream);
      resolve(new File(parts, `recording.${extension}`, { type: recorder.mimeType }));
    };
  });
  return { stop, file };
}
