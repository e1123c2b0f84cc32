//! `kinvert-sprites`: trains the built-in model and measures it.

use clap::Parser;
use kinvert_base::Progress;
use kinvert_sprites::train::*;
use std::path::PathBuf;

#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    stage: Stage,
    #[arg(long)]
    out: PathBuf,
    #[arg(long)]
    steps: Option<usize>,
    #[arg(long)]
    batch: Option<usize>,
    #[arg(long)]
    learning_rate: Option<f64>,
    #[arg(long)]
    average_decay: Option<f64>,
    #[arg(long)]
    keep: Vec<String>,
    #[arg(long)]
    alias: Vec<Alias>,
    #[arg(long)]
    seed: Option<u64>,
    #[arg(long)]
    restart: bool,
}

struct Lines(std::time::Instant, std::time::Instant, usize);
impl Progress for Lines {
    fn start(&mut self, _: &str, total: usize) {
        self.2 = total;
    }
    fn advance(&mut self, done: usize, detail: &str) {
        if self.0.elapsed().as_secs() >= 10 {
            self.0 = std::time::Instant::now();
            eprintln!(
                "{done}/{} {detail} {:.0}s",
                self.2,
                self.1.elapsed().as_secs_f64()
            );
        }
    }
    fn finish(&mut self) {}
    fn note(&mut self, _: &str) {}
    fn is_cancelled(&self) -> bool {
        std::path::Path::new("/tmp/i6/stop").exists()
    }
}

fn main() {
    let a = Arguments::parse();
    let mut recipe = Recipe::of(a.stage, false);
    if let Some(x) = a.steps {
        recipe.steps = x;
        recipe.warm_up = (x / 50).clamp(1, 500);
    }
    if let Some(x) = a.batch {
        recipe.batch = x;
    }
    if let Some(x) = a.learning_rate {
        recipe.learning_rate = x;
    }
    if let Some(x) = a.average_decay {
        recipe.average_decay = x;
    }
    if let Some(x) = a.seed {
        recipe.seed = x;
    }
    recipe.keep.extend(a.keep);
    recipe.aliases = a.alias;
    let from = match a.out.join("model_index.json").exists() {
        true => kinvert_nets::ModelFiles::folder(&a.out),
        false => kinvert_world::model::model_files(),
    };
    let training = Training {
        recipe,
        from,
        out: a.out,
        precision: kinvert_nets::Precision::F32,
        restart: a.restart,
    };
    let now = std::time::Instant::now();
    match train(
        &training,
        kinvert_nets::Device::Cpu,
        &mut Lines(now, now, 0),
    ) {
        Ok(t) => println!("{t:?}"),
        Err(e) => {
            eprintln!("error: {e} {:?}", e.hint());
            std::process::exit(1)
        }
    }
}
