//! Clients that know nothing of longrun: curl, Python's requests, Azure's pollers, GA4GH's and
//! OpenAI's clients, a browser, and a tool that tests servers by their OpenAPI document. Each drives the program over
//! real sockets.

mod api;
mod azure;
mod browser;
mod description;
mod openai;
mod relay;
#[path = "../site/mod.rs"]
mod site;
mod support;
mod tes;
