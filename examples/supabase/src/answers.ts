// Where the answers are kept that a retry gets again.

import type { Usage } from './model.js';

export type Answer = {
	prompt: string;
	reply: string;
	usage: Usage;
	credits: number;
	reservation_id: string;
};

export type Answers = {
	find(user_id: string, key: string): Promise<Answer | undefined>;
	// Keeps an answer unless there is one, and returns the one that is kept.
	keep(user_id: string, key: string, answer: Answer): Promise<Answer>;
};

// Good for one process; an application has a table with (user_id, key) as its
// primary key and INSERT … ON CONFLICT DO NOTHING.
export function answersInMemory(): Answers {
	const answers = new Map<string, Answer>();

	return {
		async find(user_id, key) {
			return answers.get(`${user_id}/${key}`);
		},
		async keep(user_id, key, answer) {
			const kept = answers.get(`${user_id}/${key}`) ?? answer;

			answers.set(`${user_id}/${key}`, kept);
			return kept;
		},
	};
}
