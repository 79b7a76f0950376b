"""The paper's nets and solvers, generated through the schema."""
