"""The warm pool: hours against the calendar, the plan as values, the keeper by a fake clock."""
