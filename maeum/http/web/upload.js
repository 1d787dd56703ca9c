// One call of the service. XMLHttpRequest, because fetch does not tell how much of an upload has gone.

export class AnalyzeError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/**
 * Send a recording.
 *
 * @param fields the form's fields, `file` among them.
 * @param onSent called with the share sent, 0 to 1.
 * @param signal cancels the call.
 * @returns the service's answer.
 * @throws AnalyzeError with the service's code, or `unreachable` or `cancelled`.
 */
export function analyze(fields, onSent, signal) {
  return new Promise((resolve, reject) => {
    const form = new FormData();
    for (const [name, value] of Object.entries(fields)) form.append(name, value);
    const request = new XMLHttpRequest();
    request.open("POST", "v1/analyze");
    request.upload.onprogress = (event) => event.lengthComputable && onSent(event.loaded / event.total);
    request.upload.onload = () => onSent(1);
    request.onerror = () => reject(new AnalyzeError("unreachable", ""));
    request.onabort = () => reject(new AnalyzeError("cancelled", ""));
    request.onload = () => {
      const body = parse(request.responseText);
      if (request.status === 200 && body) resolve(body);
      else reject(new AnalyzeError(body?.error?.code ?? `http_${request.status}`, body?.error?.message ?? ""));
    };
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(form);
  });
}

function parse(json) {
  try {
    return JSON.parse(json);
  } catch {
    return null;
  }
}
