"""A browser opens /docs, tries the iris prediction that the page offers, and reads the answer off the page."""

from urllib.parse import urlsplit

from playwright.sync_api import expect, sync_playwright

OPERATION_PATH = "/models/iris/predict"
EXPECTED_CLASS = "setosa"
WAIT_MILLISECONDS = 60_000
# The page is our own and on loopback; the browser shall ask nothing of anyone else.
BROWSER_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def check(url, browser_path, screenshot_path):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=BROWSER_ARGUMENTS)
        try:
            page = browser.new_page(viewport={"width": 1200, "height": 900})
            page.set_default_timeout(WAIT_MILLISECONDS)
            complaints = listen_for_complaints(page, url)
            try:
                page.goto(url + "/docs")
                try_prediction(page)
            except AssertionError as error:
                # What the page complained of is often the reason why it did not work.
                complaints.append(str(error))
            finally:
                page.screenshot(path=str(screenshot_path), full_page=True)
        finally:
            browser.close()
    assert not complaints, "; ".join(complaints)


def listen_for_complaints(page, url):
    """A list that fills with whatever a self-contained, sound page would not do."""
    complaints = []

    def refuse_other_origins(route):
        target = urlsplit(route.request.url)
        if "{}://{}".format(target.scheme, target.netloc) == url:
            route.continue_()
        else:
            complaints.append("request to another origin: " + route.request.url)
            route.abort()

    def note_console(message):
        if message.type == "error":
            complaints.append("console error: " + message.text)

    page.route(lambda target: urlsplit(target).scheme not in ("data", "blob"), refuse_other_origins)
    page.on("console", note_console)
    page.on("websocket", lambda socket: complaints.append("web socket to " + socket.url))
    page.on("pageerror", lambda error: complaints.append("page error: {}".format(error)))
    return complaints


def try_prediction(page):
    operation = page.locator(".opblock-post").filter(has=page.locator('[data-path="{}"]'.format(OPERATION_PATH)))
    expect(operation).to_have_count(1, timeout=WAIT_MILLISECONDS)
    try_it_out = operation.get_by_role("button", name="Try it out")
    if not try_it_out.is_visible():
        operation.locator(".opblock-summary-control").click()
    # Where the page is ready to be tried, there is no such button.
    if try_it_out.is_visible():
        try_it_out.click()
    operation.get_by_role("button", name="Execute").click()

    answer = operation.locator(".live-responses-table .response")
    expect(answer.locator(".response-col_status")).to_contain_text("200", timeout=WAIT_MILLISECONDS)
    expect(answer.locator(".response-col_description")).to_contain_text(EXPECTED_CLASS, timeout=WAIT_MILLISECONDS)
