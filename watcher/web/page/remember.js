// What this browser remembers from one visit to the next. Where storage is forbidden, it remembers nothing.

const PREFIX = "alphadrop.";

/** The value that was remembered under a name; null if there is none. */
export function recall(name) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + name));
  } catch {
    return null;
  }
}

/** Remember a value; null forgets it. */
export function remember(name, value) {
  try {
    if (value === null) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // Storage is full or forbidden: the page works without it.
  }
}

/** The names with a prefix under which something is remembered. */
export function names(prefix) {
  try {
    const full = PREFIX + prefix;
    return Object.keys(localStorage).filter((name) => name.startsWith(full)).map((name) => name.slice(PREFIX.length));
  } catch {
    return [];
  }
}
