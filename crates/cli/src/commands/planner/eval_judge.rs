//! `kinvert planner eval-judge`: how well a judge agrees with people.

use kinvert_metrics::statistics::Summary;
use kinvert_planner::benchmark::agreement;

use crate::args::planner::EvalJudgeArgs;
use crate::session::Session;

pub fn run(args: &EvalJudgeArgs, session: &mut Session) -> anyhow::Result<()> {
    let agreement = agreement(&args.labels, &args.judged)?;
    let told = |summary: &Summary| match summary.standard_deviation {
        Some(deviation) => format!("{:.2} ± {deviation:.2}", summary.mean),
        None => format!("{:.2}", summary.mean),
    };
    let share = |share: Option<f64>| match share {
        Some(share) => format!("{share:.2}"),
        None => "not defined".into(),
    };
    let counts = agreement.pooled;
    let mut text = format!(
        "items: {}\nprecision: {}\nrecall: {}\nF1: {}\naccuracy of all labels: {}\nCohen's kappa: {}\n\
         labels: {} yes by both, {} by people alone, {} by the judge alone, {} no by both\n",
        agreement.items.len(),
        told(&agreement.precision),
        told(&agreement.recall),
        told(&agreement.f1_score),
        share(agreement.accuracy),
        share(agreement.kappa),
        counts.true_positive,
        counts.false_negative,
        counts.false_positive,
        counts.true_negative,
    );
    if !agreement.not_judged.is_empty() {
        let ids = agreement.not_judged.join(", ");
        text += &format!("not judged, which counts as no match: {ids}\n");
    }
    session.print(&text, &agreement)
}
