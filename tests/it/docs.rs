//! `/docs` and `/` as a browser gets them: everything from this server, nothing from elsewhere.

use std::io::Read as _;

use reqwest::{Method, header};

use crate::harness::TestServer;

#[tokio::test]
async fn the_page_and_all_that_it_asks_for_come_from_here() {
    let server = TestServer::serving("iris").await;
    let response = server.get("/docs").await;
    let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
    let page = response.text().await.unwrap();
    let addresses = page.replace("http://www.w3.org/2000/svg", "the name of SVG");
    assert!(!addresses.contains("//"), "the page names another server: {page}");
    for (file, content_type) in
        [("swagger-ui.css", "text/css"), ("swagger-ui-bundle.js", "text/javascript"), ("start.js", "text/javascript")]
    {
        let path = format!("/docs/{file}");
        assert!(page.contains(&path[1..]), "{file}");
        let response = server.get(&path).await;
        assert_eq!(
            (response.status().as_u16(), response.headers()["content-type"].to_str().unwrap()),
            (200, content_type)
        );
        assert!(response.text().await.unwrap().len() > 100, "{file}");
    }
    assert_eq!(server.get("/docs/swagger-initializer.js").await.status(), 404);
}

#[tokio::test]
async fn an_asset_is_sent_compressed_only_to_who_takes_that() {
    let server = TestServer::serving("iris").await;
    let get = async |accept: &str| {
        let request = server.request(Method::GET, "/docs/swagger-ui.css").header("accept-encoding", accept);
        let response = request.send().await.unwrap();
        let encoding = response.headers().get("content-encoding").map(|value| value.to_str().unwrap().to_owned());
        (encoding, response.bytes().await.unwrap())
    };
    let (none, plain) = get("identity").await;
    let (gzip, compressed) = get("br, gzip;q=0.8").await;
    let (refused, again) = get("gzip;q=0, identity").await;
    assert_eq!((none, gzip.as_deref(), refused), (None, Some("gzip"), None));
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&*compressed).read_to_end(&mut unpacked).unwrap();
    assert!(unpacked == plain && again == plain && compressed.len() < plain.len() / 2);
}

#[tokio::test]
async fn the_page_with_a_slash_leads_to_the_one_without() {
    let server = TestServer::serving("iris").await;
    let response = server.get("/docs/").await;
    assert_eq!((response.status().as_u16(), response.url().path()), (200, "/docs"));
}

#[tokio::test]
async fn a_browser_is_welcomed_with_the_models_and_a_program_with_json() {
    let server = TestServer::start().await;
    let page = server.request(Method::GET, "/").header("accept", "text/html,*/*").send().await.unwrap();
    let page = page.text().await.unwrap();
    assert!(page.contains("href=\"models/iris\"") && page.contains("Fisher's iris"), "{page}");
    assert!(page.contains("{&quot;features&quot;"), "{page}");
    let welcome = server.get_json("/").await;
    assert_eq!(welcome["status"], "alive");
    assert_eq!((&welcome["docs"], welcome["models"].as_array().unwrap().len()), (&"/docs".into(), 6));
}
