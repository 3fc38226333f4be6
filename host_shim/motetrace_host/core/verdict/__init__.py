"""Where one reading is: `hop_status` (what one hop has of it), `locate` (the verdict), `stage_counts`."""
