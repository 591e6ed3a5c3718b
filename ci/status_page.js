// The status page in Chromium, as a person uses it: called by status_page.py.
//
// Each step prints a line. A step that fails ends the program with an error.
"use strict";

const assert = require("node:assert");
const { chromium } = require("playwright-core");

const { PAGE, TOKEN, IMAGES } = process.env;
const WIDE = { width: 1280, height: 900 };
const NARROW = { width: 390, height: 844 };

async function main() {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    // The tests may run as root, which Chromium's sandbox refuses.
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
  });
  try {
    const context = await browser.newContext({ viewport: WIDE, colorScheme: "light" });
    context.setDefaultTimeout(30000);
    const page = await context.newPage();
    const problems = [];
    page.on("pageerror", (error) => problems.push(`script: ${error}`));
    page.on("console", (message) => {
      if (message.type() === "error") problems.push(`console: ${message.text()}`);
    });
    const dialogs = [];
    page.on("dialog", (dialog) => {
      dialogs.push(dialog.message());
      return dialog.accept();
    });

    await page.goto(PAGE);
    const row = page.locator("#sessions tr", { hasText: "/in/catalogue-2026.zip" });
    await row.waitFor();
    step("the running upload is listed");

    const bytes = () => row.locator("td.transfer small").innerText();
    const before = await bytes();
    await page.waitForFunction(
      (before) => {
        const rows = [...document.querySelectorAll("#sessions tr")];
        const row = rows.find((row) => row.textContent.includes("/in/catalogue-2026.zip"));
        const shown = row && row.querySelector("td.transfer small");
        return shown && shown.innerText !== before;
      },
      before,
    );
    assert.strictEqual(await page.locator("#state").innerText(), "live");
    step(`it moves without a reload: ${before} -> ${await bytes()}`);

    assert.strictEqual(await page.locator("img, svg").count(), 0, "a name became an element");
    assert.match(await page.locator("#recent").innerText(), /<img src=x onerror=alert\(1\)>\.csv/);
    assert.deepStrictEqual(dialogs, []);
    step("a hostile name is text");

    assert.strictEqual(await page.locator("button", { hasText: /^End$/ }).count(), 0);
    step("without the token there is no button to end a session");

    await page.fill("#search input[name=path]", "missing");
    await page.selectOption("#search select[name=class]", "not_found");
    await page.click("#search button");
    await page.waitForURL(/path=missing/);
    assert.strictEqual(await page.locator("#recent tbody tr").count(), 1);
    assert.match(await page.locator("#recent").innerText(), /no such file or directory/);
    await updates(page, 2);
    assert.strictEqual(await page.locator("#recent tbody tr").count(), 1);
    step("a search narrows the list, also after the next update");

    await page.goto(PAGE + "/login");
    await page.fill("input[name=token]", "not-the-token-of-it");
    await page.click("main button");
    await page.locator(".problem", { hasText: "wrong" }).waitFor();
    step("a wrong token is refused");
    problems.length = 0; // the answer 403 is an error in the console

    await page.fill("input[name=token]", TOKEN);
    await page.click("main button");
    await page.locator("button", { hasText: "Log out" }).waitFor();
    step("the token logs in");

    await page.locator("#state", { hasText: "live" }).waitFor();
    // Rates need two looks.
    await updates(page, 2);
    await page.screenshot({ path: `${IMAGES}/status-page-wide.png` });
    await page.setViewportSize(NARROW);
    const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wider <= 0, `the page is ${wider} pixels wider than a phone`);
    await page.screenshot({ path: `${IMAGES}/status-page-narrow.png` });
    step("it fits on a phone");
    await page.setViewportSize(WIDE);

    const ban = page.locator("#bans tr", { hasText: "scanner1" });
    await ban.locator("button", { hasText: "Lift" }).click();
    await page.locator("#bans", { hasText: "None." }).waitFor();
    step("Lift takes the ban away");

    await row.locator("button", { hasText: "End" }).click();
    await page.waitForFunction(() => {
      const sessions = document.querySelector("#sessions");
      return sessions && !sessions.textContent.includes("/in/catalogue-2026.zip");
    });
    assert.match(dialogs.join(), /End the session of acme\?/);
    const cut = page.locator("#recent tr", { hasText: "/in/catalogue-2026.zip" });
    await cut.filter({ hasText: "the operator has ended the session" }).waitFor();
    step("End asks, ends the session, and the cut upload is listed with the reason");

    await page.locator("button", { hasText: "Log out" }).click();
    await page.locator("a", { hasText: "Log in" }).waitFor();
    assert.strictEqual(await page.locator("button", { hasText: /^End$/ }).count(), 0);
    step("Log out takes the buttons away");
    assert.deepStrictEqual(problems, []);
    step("no error in the console");

    const plain = await browser.newContext({ viewport: WIDE, javaScriptEnabled: false });
    const still = await plain.newPage();
    await still.goto(PAGE + "/?user=bolt");
    assert.match(await still.locator("#sessions").innerText(), /photos\.tar/);
    assert.match(await still.locator("#state").innerText(), /reload/);
    step("it works without scripts");
  } finally {
    await browser.close();
  }
}

// Waits for new values, so that those before them are on the page.
async function updates(page, count) {
  for (let number = 0; number < count; number++) {
    await page.waitForResponse((answer) => answer.url().includes("/live"));
  }
}

function step(name) {
  console.log(`ok ${name}`);
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
