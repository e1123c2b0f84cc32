//! The language model or the template that the arguments choose.

use std::path::Path;
use std::time::Duration;

use kinvert_base::cache_folder;
use kinvert_planner::chat::{Cached, Client, ClientOptions, Endpoint, Prices};
use kinvert_planner::{ChatModel, Findings, LanguageModel, Planner, PlanningOptions, Template};
use kinvert_study::StudyFolder;

use crate::args::planner::{EndpointArgs, PlanningArgs};
use crate::commands::study::analysis;
use crate::errors::Usage;

/// The name of the planner and of the judge that ask nobody.
pub use kinvert_planner::TEMPLATE;

/// Folder of kept answers in the cache.
const ANSWERS: &str = "answers";

/// The name that was given, or the template's.
pub fn name(args: &PlanningArgs) -> anyhow::Result<&str> {
    match args.model.as_deref().map(Path::to_str) {
        None => Ok(TEMPLATE),
        Some(Some(name)) => Ok(name),
        Some(None) => Err(Usage("--model: the name is not UTF-8 text".into()).into()),
    }
}

/// A language model by its name.
pub fn chat_model(name: &str, args: &EndpointArgs) -> anyhow::Result<Box<dyn ChatModel>> {
    let variable = |name: &str| std::env::var(name).ok();
    let endpoint = Endpoint::resolve(name, args.base_url.as_deref(), &variable)?;
    let options = ClientOptions {
        attempts: args.attempts.get(),
        answer_timeout: Duration::from_secs(args.timeout.get()),
        prices: args.prices.map(|prices| Prices {
            input_per_million: prices.input,
            output_per_million: prices.output,
        }),
        ..ClientOptions::default()
    };
    let client = Client::new(endpoint, options);
    Ok(Box::new(match cache_folder().filter(|_| !args.no_cache) {
        Some(folder) => Cached::in_folder(client, folder.join(ANSWERS)),
        None => Cached::off(client),
    }))
}

/// What a language model is asked with.
pub fn options(args: &PlanningArgs) -> anyhow::Result<PlanningOptions> {
    Ok(PlanningOptions {
        context_tokens: args.endpoint.context,
        answer_tokens: args.endpoint.answer_tokens,
        temperature: args.endpoint.temperature,
        findings: findings(args)?,
        runnable: args.runnable,
    })
}

/// The planner that was chosen; `model` is the language model, if it is one.
pub fn planner<'a>(
    args: &PlanningArgs,
    model: Option<&'a dyn ChatModel>,
) -> anyhow::Result<Box<dyn Planner + 'a>> {
    Ok(match model {
        Some(model) => Box::new(LanguageModel::new(model, options(args)?)),
        None => Box::new(Template::new(findings(args)?)),
    })
}

fn findings(args: &PlanningArgs) -> anyhow::Result<Option<Findings>> {
    let Some(folder) = &args.study else {
        return Ok(None);
    };
    let results = StudyFolder::open(folder)?.results()?;
    Ok(Some(Findings::of(&results, &analysis(&results)?)))
}
