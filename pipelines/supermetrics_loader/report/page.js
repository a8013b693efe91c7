"use strict";
// Buttons that copy: hidden until here, as they do nothing without a script.
const byHand = (text) => {
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
};
const copy = async (text) => {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return byHand(text); // the clipboard is closed to pages from disk in some browsers
  }
};
for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const done = await copy(button.dataset.copy);
    button.textContent = done ? "Copied" : "Not copied";
    document.getElementById("said").textContent = button.textContent;
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}
// What scrolls sideways can be reached by keyboard.
const regions = [...document.querySelectorAll(".scroll")];
const reach = () => regions.forEach((region) => {
  if (region.scrollWidth > region.clientWidth) region.tabIndex = 0;
  else region.removeAttribute("tabindex");
});
addEventListener("resize", reach);
document.addEventListener("toggle", reach, true);
reach();
// On paper nothing can be unfolded.
const folded = [...document.querySelectorAll("details.data:not([open])")];
addEventListener("beforeprint", () => folded.forEach((each) => { each.open = true; }));
addEventListener("afterprint", () => folded.forEach((each) => { each.open = false; }));
