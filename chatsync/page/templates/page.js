"use strict";
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const form = document.getElementById("form");
  if (form) {
    const field = document.getElementById("client");
    const answer = document.getElementById("answer");
    const tones = {off: "is-off", on: "is-on", unknown: "waiting"};
    const show = function (text, tone) {
      answer.className = "answer " + tone;
      answer.textContent = text;
    };
    form.addEventListener("submit", function (event) {
      event.preventDefault();
      const typed = field.value.replace(/\s/g, "").replace(/^0+(?=\d)/, "");
      const isClient = /^[1-9]\d{0,18}$/.test(typed);
      field.setAttribute("aria-invalid", String(!isClient));
      if (!isClient) {
        show(data.nonsense, "waiting");
        return;
      }
      const found = data.answers.find(function (one) { return (" " + one.ids + " ").includes(" " + typed + " "); });
      show((found ? found.text : data.otherwise).replaceAll("{client}", typed), found ? tones[found.chat] : "off");
    });
    document.getElementById("scripts").hidden = true;
    document.getElementById("lookup").hidden = false;
  }
  const button = document.getElementById("copy");
  if (button) {
    const csv = document.getElementById("csv");
    const said = document.getElementById("copied");
    const old = function () {
      csv.hidden = false;
      csv.select();
      const done = document.execCommand("copy");
      csv.hidden = true;
      return done ? Promise.resolve() : Promise.reject(new Error("copy"));
    };
    button.addEventListener("click", function () {
      const copied = navigator.clipboard ? navigator.clipboard.writeText(csv.value).catch(old) : old();
      copied.then(function () { said.textContent = data.copied; }, function () { said.textContent = data.notCopied; });
    });
    button.hidden = false;
  }
}());
