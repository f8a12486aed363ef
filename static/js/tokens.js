// Copy a new token with one press, where the browser allows it.

import { find, setText } from "./dom.js";

const button = find("#copy-token");
if (button && navigator.clipboard) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(find("#new-token").textContent);
      setText(button, "Copied");
    } catch {
      setText(button, "Copy it by hand");
    }
  });
}
