//! What every training task shares: data loading, optimisers, schedules, the loop, checkpoints, logs, reports.
