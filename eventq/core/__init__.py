"""Events, tasks, policies, the projection and deciding: pure, without clock, file or chance."""
