// A stand-in for a language model: it streams its reply token by token, as a
// real one does, and tells what it used.

export const countTokens = (text) => text.split(/\s+/).filter(Boolean).length;

export const parrot = {
	name: 'parrot-1',
	async *stream(prompt, maxTokens) {
		const tokens = `You said: ${prompt}`.split(/(?<=\s)/).slice(0, maxTokens);

		for (const token of tokens) {
			await new Promise((resolve) => setTimeout(resolve, 5));
			yield token;
		}
		return { input_tokens: countTokens(prompt), output_tokens: tokens.length };
	},
};

// What tokens cost, in credits.
export const price = ({ input_tokens, output_tokens }) => (input_tokens * 2 + output_tokens * 8) / 100;
