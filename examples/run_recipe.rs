//! Runs a recipe from a program and says what came of it: of each trial and stage its steps, figures and the folder of its last checkpoint.
//!
//! `cargo run --release --example run_recipe -- recipes/quickstart.toml`

use rationale::{Registry, recipe::Args, run};

fn main() -> Result<(), rationale::Error> {
    let recipe = std::env::args_os().nth(1).expect("a recipe").into();
    let args = Args { recipe, overwrite: true, quiet: true, ..Args::default() };
    let outcome = run::execute(&args, &Registry::default())?;
    for stage in outcome.trials.iter().flat_map(|trial| &trial.stages) {
        let accuracy = stage.metrics.get("eval/accuracy");
        println!("{}: {} steps, accuracy {accuracy:?}, {:?}", stage.name, stage.steps, stage.checkpoint);
    }
    Ok(())
}
