// Times are told in the reader's zone from the next request on; what refreshes waits for the reader.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const said = `spillgate_zone=${encodeURIComponent(zone)}`;
if (zone && !document.cookie.includes(said)) {
  document.cookie = `${said}; path=/dashboard; max-age=31536000; samesite=lax`;
  if (document.cookie.includes(said) && document.querySelector("time")) location.reload();
}
document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
document.addEventListener("htmx:beforeRequest", (event) => {
  const region = event.target;
  const isRead = region.contains(document.activeElement) || !getSelection().isCollapsed;
  if (document.hidden || isRead) event.preventDefault();
});
document.addEventListener("submit", (event) => {
  const words = event.target.dataset.confirm;
  if (words && !confirm(words)) event.preventDefault();
});
document.addEventListener("change", (event) => {
  if (event.target.matches("form.narrow select")) event.target.form.requestSubmit();
});
document.addEventListener("htmx:beforeSwap", (event) => {
  // Whoever has no session any more gets the form that begins one, not a page with a hole.
  if (!event.detail.xhr.responseText.includes(`id="${event.target.id}"`)) {
    event.preventDefault();
    location.reload();
  }
});
// A file is read into the form's own text, which is there without a script too.
for (const input of document.querySelectorAll("input[data-into]")) {
  input.closest("[hidden]").hidden = false;
  input.addEventListener("change", async () => {
    const file = input.files[0];
    if (!file) return;
    document.getElementById(input.dataset.into).value = await file.text();
    input.form.elements[input.dataset.name].value ||= file.name;
  });
}
