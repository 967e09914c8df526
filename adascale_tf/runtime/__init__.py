"""What runs on the phone and on the host alike: context, policy, session, loop. Standard library at import."""
